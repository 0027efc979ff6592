//! The configuration file: YAML, whose keys are flags.
//!
//! ```text
//! name: a                                    --name=a
//! log-outputs: [stderr, /var/log/a]          --log-outputs=stderr,/var/log/a
//! grpc-keepalive-min-time: 5000000000        --grpc-keepalive-min-time=5000000000ns
//! peer-transport-security:
//!   cert-file: peer.crt                      --peer-cert-file=peer.crt
//! ```
//!
//! Durations are whole nanoseconds, as in etcd. Keys nobody knows are ignored, with a warning.
//!
//! Answers to: etcd v3.7.1 `server/embed/config.go` (ConfigFromFile)

use serde_json::{Map, Value};

use super::parse::CliError;
use super::{accepted, table};

/// Maps whose keys stand for flags: the map, and key by key which.
const MAPS: &[(&str, &[(&str, &str)])] = &[
    (
        "client-transport-security",
        &[
            ("cert-file", "cert-file"),
            ("key-file", "key-file"),
            ("client-cert-file", "client-cert-file"),
            ("client-key-file", "client-key-file"),
            ("client-cert-auth", "client-cert-auth"),
            ("trusted-ca-file", "trusted-ca-file"),
            ("auto-tls", "auto-tls"),
            ("allowed-hostname", "client-cert-allowed-hostname"),
        ],
    ),
    (
        "peer-transport-security",
        &[
            ("cert-file", "peer-cert-file"),
            ("key-file", "peer-key-file"),
            ("client-cert-file", "peer-client-cert-file"),
            ("client-key-file", "peer-client-key-file"),
            ("client-cert-auth", "peer-client-cert-auth"),
            ("trusted-ca-file", "peer-trusted-ca-file"),
            ("auto-tls", "peer-auto-tls"),
            ("allowed-cn", "peer-cert-allowed-cn"),
            ("allowed-hostname", "peer-cert-allowed-hostname"),
            ("skip-client-san-verification", "peer-skip-client-san-verification"),
        ],
    ),
    (
        "socket-options",
        &[("reuse-port", "socket-reuse-port"), ("reuse-address", "socket-reuse-address")],
    ),
    ("discovery-config", &[("token", "discovery-token"), ("client", "")]),
    (
        "discovery-config.client",
        &[
            ("endpoints", "discovery-endpoints"),
            ("request-timeout", "discovery-request-timeout"),
            ("dial-timeout", "discovery-dial-timeout"),
            ("keepalive-time", "discovery-keepalive-time"),
            ("keepalive-timeout", "discovery-keepalive-timeout"),
            ("secure", ""),
            ("auth", ""),
        ],
    ),
    (
        "discovery-config.client.secure",
        &[
            ("cert", "discovery-cert"),
            ("key", "discovery-key"),
            ("cacert", "discovery-cacert"),
            ("insecure-transport", "discovery-insecure-transport"),
            ("insecure-skip-tls-verify", "discovery-insecure-skip-tls-verify"),
        ],
    ),
    (
        "discovery-config.client.auth",
        &[("username", "discovery-user"), ("password", "discovery-password")],
    ),
];

/// Flags that are words of the command line only.
const NOT_KEYS: [&str; 3] = ["config-file", "version", "help"];

/// What a file says: flags and their words, in the order of their names; and what it says in vain.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) words: Vec<(String, String)>,
    pub(super) warnings: Vec<String>,
}

/// Reads the file at `path`.
pub(super) fn load(path: &str) -> Result<Content, CliError> {
    let wrong = |why: String| {
        CliError::settings(format!(
            "error verifying flags, cannot read --config-file {path}: {why}"
        ))
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    parse(&text).map_err(wrong)
}

fn parse(text: &str) -> Result<Content, String> {
    let value: Value = match text.trim() {
        "" => Value::Null,
        text => serde_saphyr::from_str(text).map_err(|error| error.to_string())?,
    };
    let mut content = Content::default();
    match value {
        Value::Null => {}
        Value::Object(map) => content.take(&map)?,
        _ => return Err("it is no map; write one \"flag: value\" a line".to_owned()),
    }
    Ok(content)
}

impl Content {
    fn take(&mut self, map: &Map<String, Value>) -> Result<(), String> {
        for (key, value) in map {
            match (MAPS.iter().find(|(name, _)| name == key), value) {
                (Some((name, keys)), Value::Object(map)) => self.take_map(name, keys, map)?,
                (Some(_), Value::Null) => {}
                (Some(_), _) => return Err(format!("{key} is no map")),
                (None, value) => self.take_flag(key, key, value)?,
            }
        }
        Ok(())
    }

    fn take_map(
        &mut self,
        name: &str,
        keys: &[(&str, &str)],
        map: &Map<String, Value>,
    ) -> Result<(), String> {
        for (key, value) in map {
            let place = format!("{name}.{key}");
            match (keys.iter().find(|(known, _)| known == key), value) {
                (Some((_, "")), Value::Object(inner)) => {
                    let inner_keys = MAPS.iter().find(|(name, _)| *name == place);
                    let inner_keys = inner_keys.map_or(&[][..], |(_, keys)| keys);
                    self.take_map(&place, inner_keys, inner)?;
                }
                (Some((_, "")), Value::Null) => {}
                (Some((_, "")), _) => return Err(format!("{place} is no map")),
                (Some((_, flag)), value) => self.take_flag(&place, flag, value)?,
                (None, _) => self.ignore(&place),
            }
        }
        Ok(())
    }

    fn ignore(&mut self, place: &str) {
        self.warnings.push(format!("the configuration file's {place} is no setting: ignored"));
    }

    fn take_flag(&mut self, place: &str, flag: &str, value: &Value) -> Result<(), String> {
        let Some(is_duration) = takes_duration(flag) else {
            self.ignore(place);
            return Ok(());
        };
        let word = match (value, is_duration) {
            (Value::Null, _) => return Ok(()),
            (Value::Number(nanos), true) if nanos.is_u64() => format!("{nanos}ns"),
            (_, true) => return Err(format!("{place} is no whole number of nanoseconds")),
            (value, false) => {
                word(value).ok_or_else(|| format!("{place} is no text, number or list of these"))?
            }
        };
        self.words.push((flag.to_owned(), word));
        Ok(())
    }
}

/// Whether the flag of that name takes a duration; nothing if there is no such key.
fn takes_duration(name: &str) -> Option<bool> {
    if NOT_KEYS.contains(&name) {
        return None;
    }
    let own = table::TABLE.iter().find(|flag| flag.name == name).map(|flag| flag.is_duration);
    own.or_else(|| accepted::find(name).map(accepted::Accepted::is_duration))
}

/// A value as the command line would have it.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(values) => {
            values.iter().map(word).collect::<Option<Vec<_>>>().map(|words| words.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<(String, String)> {
        parse(text).expect("it is understood").words
    }

    #[test]
    fn every_kind_of_value_becomes_a_word() {
        let text = "name: a\nsnapshot-count: 5\nstrict-reconfig-check: false\n\
                    log-outputs: [stderr, '/a b']\ngrpc-keepalive-min-time: 5000000000\n\
                    data-dir:\n";
        let expected = [
            ("grpc-keepalive-min-time", "5000000000ns"),
            ("log-outputs", "stderr,/a b"),
            ("name", "a"),
            ("snapshot-count", "5"),
            ("strict-reconfig-check", "false"),
        ];
        let mut words = words(text);
        words.sort();
        let words: Vec<_> = words.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(words, expected);
    }

    #[test]
    fn maps_stand_for_flags_and_json_is_yaml() {
        let text = r#"{"socket-options": {"reuse-port": true},
            "discovery-config": {"token": "t", "client": {"dial-timeout": 7, "auth": null}}}"#;
        let mut words = words(text);
        words.sort();
        let expected = [
            ("discovery-dial-timeout", "7ns"),
            ("discovery-token", "t"),
            ("socket-reuse-port", "true"),
        ];
        assert_eq!(words, expected.map(|(name, word)| (name.to_owned(), word.to_owned())));
    }

    #[test]
    fn unknown_keys_are_told_and_wrong_values_refused() {
        let content = parse("no-such: 1\nhelp: true\ndiscovery-config: {x: 1}\n").unwrap();
        let ignored = |what| format!("the configuration file's {what} is no setting: ignored");
        let mut warnings = content.warnings;
        warnings.sort();
        assert_eq!(warnings, ["discovery-config.x", "help", "no-such"].map(ignored));
        for (text, why) in [
            ("grpc-keepalive-min-time: 10m", "no whole number of nanoseconds"),
            ("name: {a: b}", "no text, number or list"),
            ("socket-options: 5", "no map"),
            ("[1, 2]", "it is no map"),
            ("name: 'a", ""),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(why), "{error}");
        }
    }
}

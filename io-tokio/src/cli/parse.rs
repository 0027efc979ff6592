//! Words to flags, by Go's rules.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Called;
use super::table::{Flag, Flags, Section, TABLE};

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Run with these flags; say the warnings once there is a log.
    Run {
        /// The flags.
        flags: Box<Flags>,
        /// Harmless oddities.
        warnings: Vec<String>,
    },
    /// Print the help text.
    Help,
    /// Print the version.
    Version,
}

/// Why there is nothing to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CliError {
    /// The program's exit code.
    pub code: u8,
    /// What is wrong and what to do.
    pub text: String,
}

impl CliError {
    /// Words that are no flags, or no values.
    fn words(text: String) -> Self {
        Self { code: 2, text }
    }

    /// Settings that make no sense.
    pub(super) fn settings(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }
}

/// Reads the command line (without the program's name) and the environment.
pub fn parse(
    words: &[String],
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Outcome, CliError> {
    let mut flags = Flags::default();
    if parse_words(words, &mut flags)? == Stop::Help || flags.help {
        return Ok(Outcome::Help);
    }
    if flags.version {
        return Ok(Outcome::Version);
    }
    let warnings = parse_environment(environment, &mut flags)?;
    Ok(Outcome::Run { flags: Box::new(flags), warnings })
}

#[derive(PartialEq, Eq)]
enum Stop {
    End,
    Help,
}

fn parse_words(words: &[String], flags: &mut Flags) -> Result<Stop, CliError> {
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let Some(body) = word.strip_prefix('-').filter(|body| !body.is_empty()) else {
            return Err(stray(word));
        };
        let body = body.strip_prefix('-').unwrap_or(body);
        if body.is_empty() {
            return rest.next().map_or(Ok(Stop::End), |word| Err(stray(word)));
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(CliError::words(format!("bad flag syntax: {word}")));
        }
        let Some(flag) = TABLE.iter().find(|flag| flag.name == name) else {
            if name == "h" {
                return Ok(Stop::Help);
            }
            return Err(CliError::words(format!("flag provided but not defined: -{name}")));
        };
        let value = match value {
            Some(value) => value,
            None if flag.is_boolean => "true",
            None => rest.next().ok_or_else(|| lacks_value(flag))?,
        };
        flags.set(flag, value).map_err(|expected| {
            CliError::words(format!("invalid value {value:?} for flag -{name}: give {expected}"))
        })?;
    }
    Ok(Stop::End)
}

fn stray(word: &str) -> CliError {
    CliError::settings(format!(
        "error verifying flags, {word:?} is not a valid flag. See '--help'."
    ))
}

fn lacks_value(flag: &Flag) -> CliError {
    CliError::words(format!("flag needs an argument: -{}", flag.name))
}

/// Variables of etcd's that mean nothing here and deserve no remark.
const QUIET: [&str; 2] = ["ETCD_VERIFY", "ETCD_UNSUPPORTED_ARCH"];

fn parse_environment(
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &mut Flags,
) -> Result<Vec<String>, CliError> {
    let by_variable: BTreeMap<String, &Flag> =
        TABLE.iter().map(|flag| (flag.variable(), flag)).collect();
    let mut warnings = Vec::new();
    let given: BTreeMap<String, String> = environment
        .into_iter()
        .filter(|(name, value)| name.starts_with("ETCD_") && !value.is_empty())
        .collect();
    for (variable, value) in given {
        if QUIET.contains(&variable.as_str()) || variable == "ETCD_HELP" {
            continue;
        }
        if variable == "ETCD_VERSION" {
            warnings.push(format!("ignoring environment variable {variable}"));
            continue;
        }
        let Some(flag) = by_variable.get(&variable) else {
            warnings.push(format!("unrecognized environment variable {variable}"));
            continue;
        };
        if flags.is_given(flag.name) {
            return Err(CliError::settings(format!(
                "conflicting environment variable is shadowed by corresponding command-line flag \
                 (either unset environment variable or disable flag): {variable}"
            )));
        }
        flags.set(flag, &value).map_err(|expected| {
            CliError::settings(format!(
                "invalid value {value:?} for environment variable {variable}: give {expected}"
            ))
        })?;
    }
    Ok(warnings)
}

/// The help text.
pub fn help(called: Called) -> String {
    let mut text = String::new();
    for section in Section::ALL {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{section:?}:");
        for flag in TABLE.iter().filter(|flag| flag.section == section) {
            let _ = match flag.name {
                "data-dir" => {
                    writeln!(text, "  --{} '{}'", flag.name, called.data_dir("${name}"))
                }
                _ => writeln!(text, "  --{} '{}'", flag.name, flag.default),
            };
            let _ = writeln!(text, "    {}", flag.help);
        }
        text.push('\n');
    }
    text
}

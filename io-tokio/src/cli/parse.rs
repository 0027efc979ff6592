//! Words to flags, by Go's rules.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::accepted::{self, ACCEPTED};
use super::table::{Flag, Flags, Section, TABLE, variable};
use super::{Called, file};

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
    let mut given = Given::default();
    if given.parse_words(words)? == Stop::Help || given.flags.help {
        return Ok(Outcome::Help);
    }
    if given.flags.version {
        return Ok(Outcome::Version);
    }
    let environment: BTreeMap<String, String> = environment.into_iter().collect();
    let named = environment.get(&variable("config-file")).cloned().unwrap_or_default();
    let path = match given.flags.config_file.as_str() {
        "" => named,
        path => path.to_owned(),
    };
    if path.is_empty() {
        given.parse_environment(environment)?;
    } else {
        given = Given::load(&path)?;
    }
    let warnings = given.judge()?;
    Ok(Outcome::Run { flags: Box::new(given.flags), warnings })
}

#[derive(PartialEq, Eq)]
enum Stop {
    End,
    Help,
}

/// What was given so far.
#[derive(Default)]
struct Given {
    flags: Flags,
    /// Of etcd's flags that change nothing: their words.
    accepted: BTreeMap<&'static str, String>,
    warnings: Vec<String>,
}

/// A flag, of the table or of those that change nothing.
#[derive(Clone, Copy)]
enum Named {
    Own(&'static Flag),
    Accepted(&'static accepted::Accepted),
}

impl Named {
    fn find(name: &str) -> Option<Self> {
        let own = TABLE.iter().find(|flag| flag.name == name).map(Self::Own);
        own.or_else(|| accepted::find(name).map(Self::Accepted))
    }

    fn is_boolean(self) -> bool {
        match self {
            Self::Own(flag) => flag.is_boolean,
            Self::Accepted(flag) => flag.is_boolean(),
        }
    }
}

impl Given {
    fn set(&mut self, flag: Named, word: &str) -> Result<(), &'static str> {
        match flag {
            Named::Own(flag) => self.flags.set(flag, word)?,
            Named::Accepted(flag) => {
                flag.check(word)?;
                self.accepted.insert(flag.name, word.to_owned());
            }
        }
        Ok(())
    }

    /// What a configuration file gives.
    fn load(path: &str) -> Result<Self, CliError> {
        let content = file::load(path)?;
        let mut given = Self { warnings: content.warnings, ..Self::default() };
        for (name, word) in content.words {
            let flag = Named::find(&name);
            let set = flag.map_or(Err("a flag"), |flag| given.set(flag, &word));
            set.map_err(|expected| {
                CliError::settings(format!(
                    "invalid value {word:?} for {name} in --config-file {path}: give {expected}"
                ))
            })?;
        }
        Ok(given)
    }

    /// What to say of those that change nothing, and of everything else that is odd.
    fn judge(&mut self) -> Result<Vec<String>, CliError> {
        let mut warnings = std::mem::take(&mut self.warnings);
        for flag in ACCEPTED {
            if let Some(word) = self.accepted.get(flag.name) {
                warnings.push(flag.judge(word).map_err(CliError::settings)?);
            }
        }
        Ok(warnings)
    }

    fn parse_words(&mut self, words: &[String]) -> Result<Stop, CliError> {
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
            let Some(flag) = Named::find(name) else {
                if name == "h" {
                    return Ok(Stop::Help);
                }
                return Err(CliError::words(format!("flag provided but not defined: -{name}")));
            };
            let value = match value {
                Some(value) => value,
                None if flag.is_boolean() => "true",
                None => rest.next().ok_or_else(|| lacks_value(name))?,
            };
            self.set(flag, value).map_err(|expected| {
                let what = format!("invalid value {value:?} for flag -{name}: give {expected}");
                CliError::words(what)
            })?;
        }
        Ok(Stop::End)
    }
}

fn stray(word: &str) -> CliError {
    CliError::settings(format!(
        "error verifying flags, {word:?} is not a valid flag. See '--help'."
    ))
}

fn lacks_value(name: &str) -> CliError {
    CliError::words(format!("flag needs an argument: -{name}"))
}

/// Variables of etcd's that mean nothing here and deserve no remark.
const QUIET: [&str; 2] = ["ETCD_VERIFY", "ETCD_UNSUPPORTED_ARCH"];

impl Given {
    fn parse_environment(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), CliError> {
        let own = TABLE.iter().map(|flag| (flag.variable(), Named::Own(flag)));
        let accepted = ACCEPTED.iter().map(|flag| (variable(flag.name), Named::Accepted(flag)));
        let by_variable: BTreeMap<String, Named> = own.chain(accepted).collect();
        let given: BTreeMap<String, String> = environment
            .into_iter()
            .filter(|(name, value)| name.starts_with("ETCD_") && !value.is_empty())
            .collect();
        for (variable, value) in given {
            if QUIET.contains(&variable.as_str()) || variable == "ETCD_HELP" {
                continue;
            }
            if variable == "ETCD_VERSION" {
                self.warnings.push(format!("ignoring environment variable {variable}"));
                continue;
            }
            let Some(&flag) = by_variable.get(&variable) else {
                self.warnings.push(format!("unrecognized environment variable {variable}"));
                continue;
            };
            if self.is_given(flag) {
                return Err(CliError::settings(format!(
                    "conflicting environment variable is shadowed by corresponding command-line \
                     flag (either unset environment variable or disable flag): {variable}"
                )));
            }
            self.set(flag, &value).map_err(|expected| {
                CliError::settings(format!(
                    "invalid value {value:?} for environment variable {variable}: give {expected}"
                ))
            })?;
        }
        Ok(())
    }

    fn is_given(&self, flag: Named) -> bool {
        match flag {
            Named::Own(flag) => self.flags.is_given(flag.name),
            Named::Accepted(flag) => self.accepted.contains_key(flag.name),
        }
    }
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
    text.push_str("Accepted, without a meaning here:\n");
    for flag in ACCEPTED {
        let _ = writeln!(text, "  --{} '{}'\n    {}.", flag.name, flag.default, flag.why());
    }
    text
}

//! Help, and complaints about words, in the layout of Go's tools.
//!
//! ```text
//! Gets the key or a range of keys               $ tool get --nope
//!                                               Error: unknown flag: --nope
//! Usage:                                        Usage:
//!   tool get [options] <key> [flags]              tool get [options] <key> [flags]
//!
//! Flags:                                        Flags:
//!       --limit int   how many at most          ...
//! ```
//!
//! What a command is given besides flags is one positional argument, whose value's name is shown
//! as it is.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

use super::flags::{is_boolean, kind};
use super::quote::quote;

/// How wide the names of commands are at least.
const NAME_WIDTH_MIN: usize = 11;
/// How many letters may differ in a command that was meant.
const TYPOS_MAX: usize = 2;

/// Commands below a title.
pub(crate) type Group = (&'static str, &'static [&'static str]);

/// How a tool's help looks.
pub(crate) struct Manual<'a> {
    /// The tool, its flags made Go's.
    pub(crate) root: &'a Command,
    /// How its commands are grouped.
    pub(crate) groups: &'a [Group],
    /// What stands below all help.
    pub(crate) footer: String,
}

/// What is said to somebody whose words do not lead to a command's work.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    /// To standard output.
    pub(crate) out: String,
    /// To standard error.
    pub(crate) err: String,
    /// What the process ends with.
    pub(crate) code: u8,
}

impl Reply {
    /// Says it, and with what to end.
    pub(crate) fn tell(&self) -> ExitCode {
        eprint!("{}", self.err);
        match super::print(self.out.as_bytes()) {
            Ok(()) => ExitCode::from(self.code),
            Err(failure) => failure.end(),
        }
    }
}

impl Manual<'_> {
    /// The commands that words lead to, from the tool itself on.
    pub(crate) fn locate(&self, words: &[OsString]) -> Vec<&Command> {
        let mut path = vec![self.root];
        let mut words = words.iter().map(|word| word.to_string_lossy());
        while let Some(word) = words.next() {
            if word == "--" {
                break;
            }
            if word.len() > 1 && word.starts_with('-') {
                if takes_next(&path, &word) {
                    words.next();
                }
                continue;
            }
            match path.last().and_then(|command| meant(command, &word)) {
                Some(command) => path.push(command),
                None => break,
            }
        }
        path
    }

    /// The help of a command.
    pub(crate) fn help(&self, path: &[&Command]) -> String {
        let command = path[path.len() - 1];
        let about = command.get_long_about().or_else(|| command.get_about());
        let about = about.map(ToString::to_string).unwrap_or_default();
        format!("{}\n\n{}{}\n", about.trim_end(), self.usage(path), self.footer)
    }

    /// How a command is used.
    pub(crate) fn usage(&self, path: &[&Command]) -> String {
        let (command, name) = (path[path.len() - 1], shown(path));
        let mut text = "Usage:".to_owned();
        if command.has_subcommands() {
            text += &format!("\n  {name} [command]");
        } else {
            text += &format!("\n  {name}{} [flags]", operands(command));
        }
        if let Some(examples) = command.get_after_help() {
            text += &format!("\n\nExamples:\n{examples}");
        }
        text += &self.commands(path);
        if path.len() > 1 {
            let own: Vec<&Arg> = command.get_arguments().filter(|arg| is_shown(arg)).collect();
            text += "\n\nFlags:\n";
            text += lines(own, Some(command.get_name())).trim_end();
        }
        let inherited = path[..path.len() - 1].iter().skip(1);
        let inherited = inherited.flat_map(|command| command.get_arguments());
        let inherited: Vec<&Arg> = inherited.filter(|arg| arg.is_global_set()).collect();
        if !inherited.is_empty() {
            text += "\n\nGlobal Flags:\n";
            text += lines(inherited, None).trim_end();
        }
        if command.has_subcommands() {
            text += &format!(
                "\n\nUse \"{name} [command] --help\" for more information about a command."
            );
        }
        text + "\n"
    }

    /// The commands below one.
    fn commands(&self, path: &[&Command]) -> String {
        let command = path[path.len() - 1];
        let mut below: Vec<&Command> =
            command.get_subcommands().filter(|command| !command.is_hide_set()).collect();
        below.sort_by_key(|command| command.get_name());
        let width = below.iter().map(|command| command.get_name().len()).max().unwrap_or(0);
        let width = width.max(NAME_WIDTH_MIN);
        let line = |command: &&Command| {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            format!("\n  {:width$} {about}", command.get_name())
        };
        if below.is_empty() || path.len() > 1 {
            let lines: String = below.iter().map(line).collect();
            return if lines.is_empty() {
                lines
            } else {
                format!("\n\nAvailable Commands:{lines}")
            };
        }
        let group = |(title, names): &Group| {
            let members = below.iter().filter(|command| names.contains(&command.get_name()));
            format!("\n\n{title}{}", members.map(line).collect::<String>())
        };
        self.groups.iter().map(group).collect()
    }

    /// The flags that every command has.
    pub(crate) fn options(&self) -> String {
        lines(self.root.get_arguments().filter(|arg| is_shown(arg)).collect(), None)
    }

    /// What is said about words that could not be read.
    pub(crate) fn complain(&self, words: &[OsString], error: &clap::Error) -> Reply {
        let path = self.locate(words);
        let is_unknown_command = error.kind() == ErrorKind::InvalidSubcommand;
        if is_unknown_command && path.len() > 1 {
            return Reply { out: self.help(&path), ..Reply::default() };
        }
        let name = shown(&path);
        let err = if is_unknown_command {
            let word = context(error, ContextKind::InvalidSubcommand);
            format!(
                "Error: unknown command {} for {}{}\nRun '{name} --help' for usage.\n",
                quote(word.as_bytes()),
                quote(name.as_bytes()),
                self.suggest(&word)
            )
        } else {
            format!("Error: {}\n{}\n", self.wrong(&path, words, error), self.usage(&path))
        };
        Reply { out: String::new(), err, code: 1 }
    }

    /// Commands that may have been meant.
    fn suggest(&self, word: &str) -> String {
        let word = word.to_lowercase();
        let is_meant = |name: &&str| name.starts_with(&word) || typos(name, &word) <= TYPOS_MAX;
        let names = self.root.get_subcommands().map(Command::get_name).filter(is_meant);
        let lines: String = names.map(|name| format!("\t{name}\n")).collect();
        if lines.is_empty() { lines } else { format!("\n\nDid you mean this?\n{lines}") }
    }

    fn wrong(&self, path: &[&Command], words: &[OsString], error: &clap::Error) -> String {
        let flag = context(error, ContextKind::InvalidArg);
        let long = flag.split([' ', '=']).next().unwrap_or_default().trim_end_matches('[');
        let known = long.strip_prefix("--").and_then(|name| find(path, name));
        let value = context(error, ContextKind::InvalidValue);
        match (error.kind(), known) {
            (ErrorKind::ValueValidation, Some(known)) => {
                let cause = std::error::Error::source(error);
                let cause = cause.map(ToString::to_string).unwrap_or_default();
                let short = known.get_short().map(|short| format!("-{short}, "));
                let flag = short.unwrap_or_default() + long;
                format!("invalid argument {} for \"{flag}\" flag: {cause}", quote(value.as_bytes()))
            }
            (ErrorKind::InvalidValue | ErrorKind::WrongNumberOfValues, Some(known)) => {
                let last = words.last().map(|word| word.to_string_lossy()).unwrap_or_default();
                match known.get_short().filter(|short| last == format!("-{short}")) {
                    Some(short) => format!("flag needs an argument: '{short}' in -{short}"),
                    None => format!("flag needs an argument: {long}"),
                }
            }
            _ => unreadable(words, error),
        }
    }
}

/// Why words cannot be read, where that is not about a flag's value.
pub(crate) fn unreadable(words: &[OsString], error: &clap::Error) -> String {
    match error.kind() {
        ErrorKind::UnknownArgument => unknown_flag(words, &context(error, ContextKind::InvalidArg)),
        _ => error.to_string().lines().next().unwrap_or_default().replace("error: ", ""),
    }
}

fn unknown_flag(words: &[OsString], flag: &str) -> String {
    if flag.starts_with("--") {
        return format!("unknown flag: {flag}");
    }
    let letter = flag.chars().nth(1).unwrap_or('-');
    let mut words = words.iter().map(|word| word.to_string_lossy());
    let word = words.find(|word| word.starts_with('-') && word.contains(letter));
    let word = word.unwrap_or_else(|| flag.into());
    let letters = word.find(letter).map_or("", |at| &word[at..]);
    format!("unknown shorthand flag: {letter:?} in -{letters}")
}

fn context(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    }
}

fn shown(path: &[&Command]) -> String {
    path.iter().map(|command| command.get_name()).collect::<Vec<_>>().join(" ")
}

/// What a command is given besides flags.
fn operands(command: &Command) -> String {
    let names = command.get_positionals().filter_map(Arg::get_value_names).flatten();
    names.filter(|name| !name.is_empty()).map(|name| format!(" {name}")).collect()
}

fn is_shown(arg: &Arg) -> bool {
    !arg.is_positional() && !arg.is_hide_set()
}

/// A flag of one of these commands that those below have as well, or of the last one.
fn find<'a>(path: &[&'a Command], name: &str) -> Option<&'a Arg> {
    let mut all = path.iter().flat_map(|command| command.get_arguments());
    all.find(|arg| arg.get_long() == Some(name))
}

/// Whether the word after a flag is its value.
fn takes_next(path: &[&Command], word: &str) -> bool {
    let flag = match word.strip_prefix("--") {
        Some(name) => find(path, name),
        None => {
            let mut all = path.iter().flat_map(|command| command.get_arguments());
            all.find(|arg| arg.get_short() == word.chars().last())
        }
    };
    !word.contains('=') && flag.is_some_and(|flag| !is_boolean(flag))
}

/// The command of a name, or of the beginning of one.
fn meant<'a>(command: &'a Command, word: &str) -> Option<&'a Command> {
    if let Some(exact) = command.find_subcommand(word) {
        return Some(exact);
    }
    let mut all = command.get_subcommands().filter(|command| command.get_name().starts_with(word));
    all.next().filter(|_| all.next().is_none())
}

/// Flags, one a line, in the order of their names.
fn lines(flags: Vec<&Arg>, helped: Option<&str>) -> String {
    let mut lines: Vec<(String, String, String)> = flags.into_iter().map(line).collect();
    if let Some(name) = helped {
        let (flag, about) = ("  -h, --help".to_owned(), format!("help for {name}"));
        lines.push(("help".to_owned(), flag, about));
    }
    lines.sort();
    let width = lines.iter().map(|(_, flag, _)| flag.len()).max().unwrap_or(0);
    lines.iter().map(|(_, flag, about)| format!("{flag:width$}   {about}\n")).collect()
}

fn line(arg: &Arg) -> (String, String, String) {
    let long = arg.get_long().unwrap_or_default();
    let mut flag = match arg.get_short() {
        Some(short) => format!("  -{short}, --{long}"),
        None => format!("      --{long}"),
    };
    let kind = kind(arg);
    if !kind.is_empty() {
        flag += &format!(" {kind}");
    }
    let mut about = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values = arg.get_default_values().iter();
    let default = values.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",");
    match kind {
        _ if matches!(&*default, "" | "0" | "false" | "0s") => {}
        "string" => about += &format!(" (default {})", quote(default.as_bytes())),
        "strings" => about += &format!(" (default [{default}])"),
        _ => about += &format!(" (default {default})"),
    }
    (long.to_owned(), flag, about)
}

/// By how many letters two words differ.
fn typos(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (number, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], number + 1);
        for (place, wanted) in other.chars().enumerate() {
            let changed = diagonal + usize::from(letter != wanted);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(row[place] + 1).min(diagonal + 1);
        }
    }
    row[other.chars().count()]
}

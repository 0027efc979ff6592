//! One call of the tool, from its words to its report.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use super::cli::{Command, GROUPS, Words};
use super::job::Plan;
use super::report::{self, Report};
use super::stint::Stint;
use super::tally::Tally;
use super::target::Target;
use super::{Load, progress};
use crate::tool::help::{Manual, Reply};
use crate::tool::{self, Failure, signals};

/// The tool's name.
const QUORATE_BENCH: &str = "quorate bench";

/// The words for this tool, if the program was called for it; the first is its name.
pub fn called(words: &[OsString]) -> Option<Vec<OsString>> {
    let (first, rest) = words.split_first()?;
    (first == "bench").then(|| [&[QUORATE_BENCH.into()], rest].concat())
}

/// Its declarations.
pub(crate) fn declared(name: &'static str) -> clap::Command {
    tool::flags::as_go(Words::command().name(name))
}

/// Runs it; the first word is its name.
pub fn main(words: &[OsString]) -> ExitCode {
    let root = declared(QUORATE_BENCH);
    let said = match root.clone().try_get_matches_from(words) {
        Ok(matches) => match run(&root, &matches, words) {
            Ok(said) => said,
            Err(failure) => return failure.end(),
        },
        Err(error) => manual(&root).complain(&words[1..], &error),
    };
    said.tell()
}

fn manual(root: &clap::Command) -> Manual<'_> {
    let footer = format!(
        "Use \"{} options\" for a list of command-line options that all commands have.",
        root.get_name()
    );
    Manual { root, groups: GROUPS, footer }
}

/// Does what was asked; what is left to be said.
fn run(root: &clap::Command, matches: &ArgMatches, words: &[OsString]) -> Result<Reply, Failure> {
    let manual = manual(root);
    let said = |out| Ok(Reply { out, ..Reply::default() });
    let asked =
        Words::from_arg_matches(matches).map_err(|error| Failure::new(error.to_string()))?;
    let is_help = asked.help;
    let command = match &asked.command {
        Some(Command::Help(rest)) => return said(manual.help(&manual.locate(&rest.words))),
        Some(Command::Options(_)) if !is_help => {
            let what = "The following options can be passed to any command:";
            return said(format!("{what}\n\n{}", manual.options()));
        }
        Some(command) if !is_help => command,
        _ => return said(manual.help(&manual.locate(&words[1..]))),
    };
    let plan = Plan::of(command, &asked.size)?;
    let load = plan.load(&asked.size)?;
    let (json, svg) = (create(&asked.output.json)?, create(&asked.output.svg)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let opening = Target::open(&asked.reach, asked.size.target_leader);
    let target = Arc::new(runtime.block_on(opening)?);
    let (seen, is_interrupted, seconds) = runtime.block_on(attend(&plan, &target, &load))?;
    let benchmark = matches.subcommand_name().unwrap_or_default();
    let tracks = plan.tracks.iter().copied().zip(seen).collect();
    let report = Report { benchmark, target: &target, load, seconds, is_interrupted, tracks };
    tool::print(report::text::render(&report, &asked.output).as_bytes())?;
    write(json, &asked.output.json, || Ok(report::json::render(&report)))?;
    write(svg, &asked.output.svg, || report::picture::draw(&report))?;
    if report.has_succeeded() { Ok(Reply::default()) } else { Err(Failure::told()) }
}

/// Runs it on threads of its own; tells how far it is, and ends it by a signal.
async fn attend(
    plan: &Plan,
    target: &Arc<Target>,
    load: &Load,
) -> Result<(Vec<Tally>, bool, f64), Failure> {
    let stint = Arc::new(Stint::new(plan.terms));
    let mut ended = signals::ended()?;
    let mut is_interrupted = false;
    let (done, mut finished) = tokio::sync::oneshot::channel();
    let (job, running) = (plan.job.clone(), stint.clone());
    let (target, load) = (target.clone(), *load);
    std::thread::spawn(move || {
        let seen = job.run(&target, &load, &running);
        // Whoever waits for it waits until it is there.
        let _ = done.send((seen, running.begun().elapsed()));
    });
    let mut showing = Box::pin(progress::show(&stint));
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut finished => break outcome,
            () = ended.wait(), if !is_interrupted => {
                is_interrupted = true;
                stint.stop();
            }
            () = &mut showing => {}
        }
    };
    drop(showing);
    let (seen, took) = outcome.map_err(|_| Failure::new("the load generator panicked"))?;
    Ok((seen.map_err(Failure::connection)?, is_interrupted, took.as_secs_f64()))
}

/// A file that will be written: whether it can be is known before a long run, not after it.
fn create(path: &str) -> Result<Option<File>, Failure> {
    if path.is_empty() {
        return Ok(None);
    }
    let created = File::create(path);
    created.map(Some).map_err(|error| Failure::new(format!("cannot write {path}: {error}")))
}

fn write(
    file: Option<File>,
    path: &str,
    render: impl FnOnce() -> Result<String, String>,
) -> Result<(), Failure> {
    let Some(mut file) = file else { return Ok(()) };
    let text = render().map_err(Failure::new)?;
    let written = file.write_all(text.as_bytes());
    written.map_err(|error| Failure::new(format!("cannot write {path}: {error}")))
}

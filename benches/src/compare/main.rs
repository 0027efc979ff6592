//! Quorate beside a real etcd beside two floors, on this machine, under the same load.
//!
//! ```text
//!                round 1                           round 2
//! quorate -> etcd -> floor -> door   quorate -> etcd -> floor -> door   ...   medians, CSV, SVG
//!    |
//!    +-- empty directory, start, fill, what the scene is about, kill
//! ```
//!
//! - Servers are processes of their own and run one at a time; the load comes from this process,
//!   by the same rooms as that of `quorate bench`.
//! - Server CPU per operation is the first figure: with both sides on one machine, throughput
//!   measures the load generator too.
//! - No server is started with a flag that weakens its durability.
//! - Deliberately absent: any judgement of correctness; that is what the tests are for.

mod cli;
mod data;
mod figure;
mod floor;
mod measure;
mod paced;
#[path = "../../../io-tokio/tests/platter/mod.rs"]
mod platter;
mod plot;
mod row;
mod rows;
mod servers;
mod sizes;
mod strain;
mod table;

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use cli::{Args, Command};
use figure::Figure;
use rows::{Scene, Stage};
use servers::Program;

/// The server's: a floor must not be higher for another allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let args = Args::parse();
    raise_descriptors()?;
    match args.command {
        Some(Command::EchoServer { ref listen_client_urls, door }) => {
            floor::serve(listen_client_urls, door)
        }
        Some(Command::Strain(ref strain)) => strain::run(&args, strain),
        Some(Command::Table { ref figures }) => join(&args, figures),
        None => compare(&args),
    }
}

/// As many connections as the system allows, for us and for the servers.
fn raise_descriptors() -> Outcome<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    Ok(())
}

/// One scene on one server, in one round.
struct Act<'a> {
    scene: Scene,
    program: &'a Program,
    members: u8,
    round: u32,
}

/// All that is to be played: servers take turns within each round of each scene.
fn acts<'a>(args: &Args, programs: &'a [Program]) -> Vec<Act<'a>> {
    let mut acts = Vec::new();
    for &members in &args.members {
        let wanted = Scene::ALL.into_iter().filter(|scene| scene.is_wanted(args, members));
        for scene in wanted {
            for round in 1..=args.rounds(scene.is_long()) {
                let players = programs.iter().filter(|program| scene.is_for(program.flavour));
                acts.extend(players.map(|program| Act { scene, program, members, round }));
            }
        }
    }
    acts
}

fn compare(args: &Args) -> Outcome<()> {
    let programs = servers::find_programs(args)?;
    fs::create_dir_all(args.out_dir())?;
    let acts = acts(args, &programs);
    let bar = progress(acts.len() as u64);
    let (mut figures, mut failures) = (Vec::new(), Vec::new());
    for Act { scene, program, members, round } in acts {
        let mut stage = Stage { args, program, members, round, figures: &mut figures, bar: &bar };
        // What was measured before is not lost with what cannot be.
        if let Err(error) = scene.play(&mut stage) {
            let failure = format!("{} failed in {scene:?}: {error}", program.flavour.name());
            bar.println(&failure);
            failures.push(failure);
        }
        bar.inc(1);
        write_results(args, &heading(args, &programs, &failures), &figures)?;
    }
    bar.finish_and_clear();
    show(args)?;
    if failures.is_empty() { Ok(()) } else { Err("not everything could be measured".into()) }
}

/// What several runs measured, as one.
fn join(args: &Args, files: &[PathBuf]) -> Outcome<()> {
    fs::create_dir_all(args.out_dir())?;
    let (mut heading, mut figures) = (String::new(), Vec::new());
    for file in files {
        let told = |error: String| format!("{}: {error}", file.display());
        let csv = fs::read_to_string(file).map_err(|error| told(error.to_string()))?;
        figures.extend(table::from_csv(&csv).map_err(told)?);
        heading.push_str(&format!("{}\n", file.display()));
    }
    write_results(args, &heading, &figures)?;
    show(args)
}

fn show(args: &Args) -> Outcome<()> {
    let text = fs::read_to_string(args.out_dir().join("summary.txt"))?;
    std::io::stdout().write_all(text.as_bytes())?;
    writeln!(std::io::stdout(), "\nwritten to {}", args.out_dir().display())?;
    Ok(())
}

/// After each act anew: a run takes hours, and may be ended before its end.
fn write_results(args: &Args, heading: &str, figures: &[Figure]) -> Outcome<()> {
    let (out, lines) = (args.out_dir(), table::summarize(figures));
    fs::write(out.join("summary.txt"), table::to_text(&lines, heading))?;
    fs::write(out.join("figures.csv"), table::to_csv(figures))?;
    plot::draw_all(&lines, figures, &out)?;
    Ok(())
}

fn progress(steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} left  {msg}") {
        bar.set_style(style);
    }
    bar
}

fn heading(args: &Args, programs: &[Program], failures: &[String]) -> String {
    let sizes = args.sizes();
    let mut text = format!(
        "{:.1} s per workload, {} keys of {} B, {} load threads\n",
        sizes.measured.as_secs_f64(),
        sizes.keys,
        sizes::VALUE_BYTES,
        args.threads,
    );
    if args.quick {
        text.push_str(
            "A first look: everything is smaller than what the bounds are about, so that a bound \
             met or missed here is a hint.\n",
        );
    }
    for program in programs {
        text.push_str(&format!("{:8} {}\n", program.flavour.name(), program.version));
    }
    failures.iter().for_each(|failure| text.push_str(&format!("{failure}\n")));
    text
}

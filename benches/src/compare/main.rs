//! Quorate beside a real etcd beside a bare tonic echo, on this machine, under the same load.
//!
//! ```text
//!            round 1                    round 2
//! quorate -> etcd -> floor   quorate -> etcd -> floor   ...   medians, ratios, CSV, SVG
//!    |
//!    +-- empty directory, start, idle memory, preload, each workload in turn, loaded memory, kill
//! ```
//!
//! - Servers are processes of their own and run one at a time; the load comes from this process.
//! - Server CPU per operation is the first figure: with both sides on one machine, throughput
//!   measures the load generator too.
//! - No server is started with a flag that weakens its durability.
//! - Deliberately absent: any judgement of correctness; that is what the tests are for.

mod cli;
mod dial;
mod fanout;
mod floor;
mod load;
mod measure;
mod plot;
mod servers;
mod strain;
mod table;
mod workload;

use std::fs;
use std::io::Write;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use cli::{Args, Command, Flavour};
use measure::{Memory, Sample};
use servers::{Group, Program};
use table::Summary;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let args = Args::parse();
    match args.command {
        Some(Command::EchoServer { ref listen_client_urls }) => floor::serve(listen_client_urls),
        Some(Command::Strain(ref strain)) => strain::run(&args, strain),
        None => compare(&args),
    }
}

fn compare(args: &Args) -> Outcome<()> {
    let programs = servers::find_programs(args)?;
    let out = args.out_dir();
    fs::create_dir_all(&out)?;
    let workloads = args.chosen_workloads();
    let steps = args.rounds() as usize * programs.len() * workloads.len();
    let bar = progress(steps as u64);
    let mut samples = Vec::new();
    let mut memories = Vec::new();
    for round in 1..=args.rounds() {
        for program in &programs {
            let run = Run { args, program, round, bar: &bar };
            memories.push(run.measure_all(&workloads, &mut samples)?);
        }
    }
    bar.finish_and_clear();

    let summary = Summary::of(&samples, &memories);
    let text = summary.to_text(&heading(args, &programs));
    std::io::stdout().write_all(text.as_bytes())?;
    fs::write(out.join("summary.txt"), &text)?;
    fs::write(out.join("samples.csv"), table::to_csv(&samples))?;
    fs::write(out.join("memory.csv"), table::memory_to_csv(&memories))?;
    let drawn = plot::draw_all(&summary, &out)?;
    writeln!(std::io::stdout(), "\nwritten to {} ({drawn} plots)", out.display())?;
    Ok(())
}

/// One server through all workloads, once.
struct Run<'a> {
    args: &'a Args,
    program: &'a Program,
    round: u32,
    bar: &'a ProgressBar,
}

impl Run<'_> {
    fn measure_all(
        &self,
        workloads: &[workload::Workload],
        samples: &mut Vec<Sample>,
    ) -> Outcome<Memory> {
        let name = self.program.flavour.name();
        self.bar.set_message(format!("round {} {name} starting", self.round));
        let group = Group::start(self.program, self.args.members, &self.args.out_dir())?;
        std::thread::sleep(measure::IDLE_AFTER);
        let idle_kib = group.rss_kib()?;
        let plan = self.args.plan();
        load::preload(&group, &plan)?;
        for workload in workloads {
            self.bar.set_message(format!("round {} {name} {}", self.round, workload.name()));
            if self.program.flavour != Flavour::Floor || workload.has_floor() {
                let mut sample = measure::measure(&group, *workload, &plan)?;
                sample.round = self.round;
                samples.push(sample);
            }
            self.bar.inc(1);
        }
        let loaded_kib = group.rss_kib()?;
        let flavour = self.program.flavour;
        Ok(Memory { flavour, round: self.round, idle_kib, loaded_kib })
    }
}

fn progress(steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} left  {msg}") {
        bar.set_style(style);
    }
    bar
}

fn heading(args: &Args, programs: &[Program]) -> String {
    let plan = args.plan();
    let mut text = format!(
        "{} member(s), {} round(s), {:.1} s per workload, {} keys of {} B, {} load threads\n",
        args.members,
        args.rounds(),
        plan.measured.as_secs_f64(),
        plan.keys,
        workload::VALUE_BYTES,
        plan.threads,
    );
    for program in programs {
        text.push_str(&format!("{:8} {}\n", program.flavour.name(), program.version));
    }
    text
}

//! How somebody else tests a service on madsim against a real Quorate cluster: a job runner of
//! which one instance leads. Members are partitioned, lose power and stand still, a runner dies;
//! every job is still done exactly once.
//!
//! ```console
//! $ RUSTFLAGS="--cfg madsim" CARGO_TARGET_DIR=target/madsim \
//!       cargo test --profile ci -p quorate-io-sim --test madsim_service
//! ```
#![cfg(madsim)]

#[path = "madsim_service/runner.rs"]
mod runner;

use std::net::Ipv4Addr;
use std::time::Duration;

use madsim::runtime::{Handle, NodeHandle, Runtime};
use madsim::time::sleep;
use quorate_io_sim::on_madsim::client::{GetOptions, GetResponse};
use quorate_io_sim::on_madsim::{Client, Cluster, Options};
use runner::{DONE, JOBS, LEADER};

const RUNNERS: u8 = 3;
const WORK: usize = 40;

fn start_runners(cluster: &Cluster) -> Vec<NodeHandle> {
    let handle = Handle::current();
    let start = |number| {
        let name = format!("runner-{number}");
        let node = handle.create_node().name(name.clone());
        let node = node.ip(Ipv4Addr::new(10, 80, 0, number).into());
        let endpoints = cluster.endpoints();
        node.init(move || runner::run(endpoints.clone(), name.clone())).build()
    };
    (1..=RUNNERS).map(start).collect()
}

/// Who runs jobs now, if anybody does.
async fn find_leader(client: &mut Client) -> Option<String> {
    let found = client.get(LEADER, None).await.ok()?;
    Some(found.kvs().first()?.value_str().ok()?.to_owned())
}

/// Submits jobs, one every 200 ms; one whose answer got lost is submitted again by its name.
async fn submit(endpoints: Vec<String>) {
    let mut client = Client::connect(endpoints, None).await.unwrap();
    for number in 0..WORK {
        while runner::submit(&mut client, &format!("{number:03}")).await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Everything that goes wrong, on members and on runners.
async fn wreak_havoc(cluster: &Cluster, runners: &[NodeHandle], client: &mut Client) {
    sleep(Duration::from_secs(1)).await;
    let leader = cluster.wait_for_leader().await;
    cluster.partition(&[leader]);
    sleep(Duration::from_secs(4)).await;
    cluster.heal();

    let leader = cluster.wait_for_leader().await;
    cluster.kill(leader);
    sleep(Duration::from_secs(3)).await;
    cluster.restart(leader);

    // Whoever leads the runners loses power in the middle of its work, and never comes back.
    let name = find_leader(client).await.unwrap_or_else(|| "runner-1".to_owned());
    let number: usize = name.trim_start_matches("runner-").parse().unwrap();
    Handle::current().kill(runners[number - 1].id());

    sleep(Duration::from_secs(3)).await;
    let leader = cluster.wait_for_leader().await;
    cluster.pause(leader);
    sleep(Duration::from_secs(3)).await;
    cluster.resume(leader);
}

async fn wait_until_done(client: &mut Client) -> GetResponse {
    for _ in 0..600 {
        let prefix = Some(GetOptions::new().with_prefix());
        let done = client.get(DONE, prefix.clone()).await;
        let open = client.get(JOBS, prefix).await;
        if let (Ok(done), Ok(open)) = (done, open)
            && done.count() as usize == WORK
            && open.count() == 0
        {
            return done;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("jobs are left undone");
}

/// The whole test; what every job was done by, so that two runs can be compared.
async fn every_job_is_done_once() -> Vec<(String, String)> {
    let cluster = Cluster::start(&Options::default());
    cluster.wait_for_leader().await;
    let runners = start_runners(&cluster);
    let handle = Handle::current();
    let user = handle.create_node().name("user").ip(Ipv4Addr::new(10, 80, 1, 1).into()).build();
    let submitter = user.spawn(submit(cluster.endpoints()));
    let watched = user.spawn(async move {
        let mut client = Client::connect(cluster.endpoints(), None).await.unwrap();
        wreak_havoc(&cluster, &runners, &mut client).await;
        submitter.await.unwrap();
        wait_until_done(&mut client).await
    });
    let done = watched.await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let told = done.kvs().into_iter().map(|it| {
        assert_eq!(it.version(), 1, "{:?} was done more than once", it.key_str());
        (text(it.key()), text(it.value()))
    });
    told.collect()
}

#[test]
fn a_job_runner_survives_a_partition_a_crash_and_a_pause() {
    for seed in 0..5 {
        let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
        let done = runtime.block_on(every_job_is_done_once());
        assert_eq!(done.len(), WORK, "seed {seed}");
        let mut names: Vec<_> = done.iter().map(|(_, name)| name).collect();
        names.sort();
        names.dedup();
        assert!(names.len() > 1, "seed {seed}: another runner took over: {names:?}");
    }
}

/// madsim's own check: the second run must draw the same luck at every step.
#[test]
fn two_runs_of_one_seed_are_the_same() {
    let done = Runtime::check_determinism(7, madsim::Config::default(), every_job_is_done_once);
    assert_eq!(done.len(), WORK);
}

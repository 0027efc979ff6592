//! The service under test: it leads as long as its lease lives, and whoever leads does the jobs.
//!
//! ```text
//!   jobs/NAME  --leader runs it, and in one transaction, if it still leads:-->  done/NAME
//! ```
//!
//! It knows nothing of simulations: with the `etcd-client` crate in place of this client it is the
//! production code.

use std::time::Duration;

use madsim::time::{sleep, timeout};
use quorate_io_sim::on_madsim::Client;
use quorate_io_sim::on_madsim::client::{
    Compare, CompareOp, GetOptions, PutOptions, Result, Txn, TxnOp, WatchOptions,
};

/// Who leads.
pub(crate) const LEADER: &str = "leader";
/// Jobs to do.
pub(crate) const JOBS: &str = "jobs/";
/// Jobs done, and by whom.
pub(crate) const DONE: &str = "done/";

/// Seconds a leader may be silent.
const TTL: i64 = 3;

/// Puts a job up, unless that was done before.
pub(crate) async fn submit(client: &mut Client, job: &str) -> Result<()> {
    let (open, done) = (format!("{JOBS}{job}"), format!("{DONE}{job}"));
    let is_new = [
        Compare::version(open.clone(), CompareOp::Equal, 0),
        Compare::version(done, CompareOp::Equal, 0),
    ];
    client.txn(Txn::new().when(is_new).and_then([TxnOp::put(open, "", None)])).await.map(drop)
}

/// Takes part in elections for ever.
pub(crate) async fn run(endpoints: Vec<String>, name: String) {
    let Ok(mut client) = Client::connect(endpoints, None).await else { return };
    loop {
        // Whatever goes wrong: another round.
        let _ = take_part(&mut client, &name).await;
        sleep(Duration::from_millis(200)).await;
    }
}

/// One round: leads until leadership is lost, or waits until nobody leads.
async fn take_part(client: &mut Client, name: &str) -> Result<()> {
    let lease = client.lease_grant(TTL, None).await?.id();
    let own = TxnOp::put(LEADER, name, Some(PutOptions::new().with_lease(lease)));
    let is_free = Compare::create_revision(LEADER, CompareOp::Equal, 0);
    let campaign = Txn::new().when([is_free]).and_then([own]);
    let campaign = client.txn(campaign).await?;
    if !campaign.succeeded() {
        client.lease_revoke(lease).await?;
        return wait_for_end(client).await;
    }
    let term = campaign.header().map_or(0, |header| header.revision());
    let (mut keeper, mut renewed) = client.lease_keep_alive(lease).await?;
    loop {
        keeper.keep_alive().await?;
        match renewed.message().await? {
            Some(alive) if alive.ttl() > 0 => {}
            _ => return Ok(()),
        }
        if !work(client, name, term).await? {
            return Ok(());
        }
    }
}

/// Waits until the leader's key is gone.
async fn wait_for_end(client: &mut Client) -> Result<()> {
    let found = client.get(LEADER, None).await?;
    let next = found.header().map_or(0, |header| header.revision()) + 1;
    if found.count() == 0 {
        return Ok(());
    }
    let options = WatchOptions::new().with_start_revision(next);
    let mut stream = client.watch(LEADER, Some(options)).await?;
    // A stream on a member that is cut off says nothing: look again now and then.
    while let Ok(Ok(Some(frame))) = timeout(Duration::from_secs(2), stream.message()).await {
        if !frame.events().is_empty() || frame.canceled() {
            return Ok(());
        }
    }
    Ok(())
}

/// Does what there is to do. False once somebody else leads.
async fn work(client: &mut Client, name: &str, term: i64) -> Result<bool> {
    let options = GetOptions::new().with_prefix().with_limit(5);
    for job in client.get(JOBS, Some(options)).await?.kvs() {
        let done = format!("{DONE}{}", job.key_str()?.trim_start_matches(JOBS));
        sleep(Duration::from_millis(50)).await;
        let leads = Compare::create_revision(LEADER, CompareOp::Equal, term);
        let is_open = Compare::version(job.key(), CompareOp::Greater, 0);
        let finish = [TxnOp::delete(job.key(), None), TxnOp::put(done, name, None)];
        let still_leads = TxnOp::get(LEADER, None);
        let txn = Txn::new().when([leads, is_open]).and_then(finish).or_else([still_leads]);
        if !client.txn(txn).await?.succeeded() {
            return Ok(false);
        }
    }
    sleep(Duration::from_millis(100)).await;
    Ok(true)
}

//! A watch that goes on at another member when its own dies.

use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, Txn, TxnOp, WatchOptions, WatchStream};

use super::Outcome;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

pub async fn a_watch_outlives_its_member(urls: &[String]) -> Outcome {
    let mut client = Client::connect(urls, None).await?;
    let put = client.put("resume/", "v", None).await?;
    let from = put.header().map_or(0, |header| header.revision());
    let mut watch = Survivor { urls: urls.to_vec(), from, stream: None };
    assert_eq!(watch.next_keys().await?, ["resume/"]);
    for number in 0..urls.len() {
        // The watch is at this member, as the one before it died.
        ask(&format!("kill {number}"))?;
        for part in ["a", "b"] {
            let key = format!("resume/{number}{part}");
            create(&mut client, &key).await;
            assert_eq!(watch.next_keys().await?, [key]);
        }
        ask(&format!("start {number}"))?;
    }
    Ok(())
}

fn ask(wish: &str) -> Outcome {
    println!("? {wish}");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    assert_eq!(answer, "done\n", "{wish}");
    Ok(())
}

/// Writes a key once, however often it must be tried.
async fn create(client: &mut Client, key: &str) {
    let is_new = Compare::create_revision(key, CompareOp::Equal, 0);
    let txn = Txn::new().when([is_new]).and_then([TxnOp::put(key, "v", None)]);
    while client.txn(txn.clone()).await.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
}

/// A watch of a prefix that changes members where it must.
struct Survivor {
    /// The member watched at comes first.
    urls: Vec<String>,
    /// The first revision it has not seen.
    from: i64,
    stream: Option<WatchStream>,
}

impl Survivor {
    /// The keys of the next change; none twice and none left out.
    async fn next_keys(&mut self) -> Result<Vec<String>, Box<dyn std::error::Error>> {
        loop {
            if let Some(keys) = self.try_next_keys().await {
                return Ok(keys);
            }
            self.stream = None;
            self.urls.rotate_left(1);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Nothing when this member cannot tell.
    async fn try_next_keys(&mut self) -> Option<Vec<String>> {
        if self.stream.is_none() {
            let mut client = Client::connect(&self.urls[..1], None).await.ok()?;
            let options = WatchOptions::new().with_prefix().with_start_revision(self.from);
            self.stream = client.watch("resume/", Some(options)).await.ok();
        }
        loop {
            let answer = self.stream.as_mut()?.message().await.ok()??;
            if answer.canceled() {
                return None;
            }
            let kvs: Vec<_> = answer.events().iter().filter_map(|event| event.kv()).collect();
            if let Some(last) = kvs.last() {
                self.from = last.mod_revision() + 1;
                return kvs.iter().map(|kv| kv.key_str().map(str::to_owned).ok()).collect();
            }
        }
    }
}

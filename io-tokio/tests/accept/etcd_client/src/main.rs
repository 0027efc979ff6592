//! A round of the etcd-client crate.
//!
//! Usage: accept-etcd-client URL,URL,... STEP... Prints the name of each step that held; ends with
//! an error on the first that did not. A line `? kill 0` or `? start 0` asks the reader for the
//! death or the return of a member; the answer is a line `done`. Where members speak TLS, the
//! variables CA_FILE, CERT_FILE and KEY_FILE name what a client needs; where there are users,
//! USER_NAME and USER_PASSWORD who it is. The cluster must be fresh: revisions are absolute.

mod service;
mod shared;
mod survival;

use std::fs::read;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// How long one step may take.
const STEP_MAX: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let mut args = std::env::args().skip(1);
    let urls = args.next().ok_or("usage: accept-etcd-client URL,URL,... STEP...")?;
    let urls: Vec<String> = urls.split(',').map(str::to_owned).collect();
    for step in args {
        tokio::time::timeout(STEP_MAX, walk(&step, &urls)).await??;
        println!("{step}");
    }
    Ok(())
}

/// What a client is told beside where to connect to.
fn options() -> Result<ConnectOptions, Box<dyn std::error::Error>> {
    let mut options = ConnectOptions::new();
    if let Ok(authority) = std::env::var("CA_FILE") {
        let (cert, key) = (std::env::var("CERT_FILE")?, std::env::var("KEY_FILE")?);
        let identity = Identity::from_pem(read(cert)?, read(key)?);
        let authority = Certificate::from_pem(read(authority)?);
        options = options.with_tls(TlsOptions::new().ca_certificate(authority).identity(identity));
    }
    if let Ok(name) = std::env::var("USER_NAME") {
        options = options.with_user(name, std::env::var("USER_PASSWORD")?);
    }
    Ok(options)
}

async fn walk(step: &str, urls: &[String]) -> Outcome {
    let client = &mut Client::connect(&urls[..1], Some(options()?)).await?;
    match step {
        "puts_and_gets" => service::puts_and_gets(client).await,
        "transactions" => service::transactions(client).await,
        "watches" => service::watches(client).await,
        "leases" => service::leases(client).await,
        "deletes_and_compaction" => service::deletes_and_compaction(client).await,
        "locks" => shared::locks(client).await,
        "elections" => shared::elections(client).await,
        "a_watch_outlives_its_member" => survival::a_watch_outlives_its_member(urls).await,
        _ => Err(format!("no step {step}").into()),
    }
}

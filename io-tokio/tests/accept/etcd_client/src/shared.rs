//! What members do for clients that share something: the lock and the election service.

use std::time::Duration;

use etcd_client::{Client, LockOptions, ProclaimOptions, ResignOptions};

use super::Outcome;

/// Long enough for a call to arrive and wait.
const SHORTLY: Duration = Duration::from_millis(300);

pub async fn locks(client: &mut Client) -> Outcome {
    let first = client.lease_grant(60, None).await?.id();
    let second = client.lease_grant(60, None).await?.id();
    let held = client.lock("lock", Some(LockOptions::new().with_lease(first))).await?;
    let held = held.key().to_vec();
    assert_eq!(held, format!("lock/{first:x}").into_bytes());
    assert_eq!(client.get(held.clone(), None).await?.kvs()[0].lease(), first);

    let mut other = client.clone();
    let waiting = tokio::spawn(async move {
        other.lock("lock", Some(LockOptions::new().with_lease(second))).await
    });
    tokio::time::sleep(SHORTLY).await;
    assert!(!waiting.is_finished());
    client.unlock(held).await?;
    let next = waiting.await??;
    assert_eq!(next.key(), format!("lock/{second:x}").into_bytes());

    // Who gives up waiting leaves nothing behind.
    let third = client.lease_grant(60, None).await?.id();
    let impatient = client.lock("lock", Some(LockOptions::new().with_lease(third)));
    assert!(tokio::time::timeout(SHORTLY, impatient).await.is_err());
    client.unlock(next.key()).await?;
    let again = client.lock("lock", Some(LockOptions::new().with_lease(first))).await?;
    client.unlock(again.key()).await?;
    Ok(())
}

pub async fn elections(client: &mut Client) -> Outcome {
    let first = client.lease_grant(60, None).await?.id();
    let second = client.lease_grant(60, None).await?.id();
    assert!(complaint(client).await.contains("election: no leader"));
    let won = client.campaign("office", "first", first).await?;
    let office = won.leader().ok_or("a leader has a key")?.clone();
    assert_eq!(office.key_str()?, format!("office/{first:x}"));
    assert_eq!((office.name_str()?, office.lease()), ("office", first));
    let mut seen = client.observe("office").await?;
    let first_seen = seen.message().await?.ok_or("an observation")?;
    assert_eq!(first_seen.kv().map(|kv| kv.value().to_vec()), Some(b"first".to_vec()));
    client.proclaim("still", Some(ProclaimOptions::new().with_leader(office.clone()))).await?;
    let next_seen = seen.message().await?.ok_or("an observation")?;
    assert_eq!(next_seen.kv().map(|kv| kv.value().to_vec()), Some(b"still".to_vec()));

    let mut other = client.clone();
    let waiting = tokio::spawn(async move { other.campaign("office", "second", second).await });
    tokio::time::sleep(SHORTLY).await;
    assert!(!waiting.is_finished());
    client.resign(Some(ResignOptions::new().with_leader(office))).await?;
    waiting.await??;
    let leader = client.leader("office").await?;
    assert_eq!(leader.kv().map(|kv| kv.value().to_vec()), Some(b"second".to_vec()));
    // A leader whose lease ends has resigned.
    client.lease_revoke(second).await?;
    assert!(complaint(client).await.contains("election: no leader"));
    Ok(())
}

/// What a member says when asked for the leader where there is none.
async fn complaint(client: &mut Client) -> String {
    client.leader("office").await.err().map(|error| error.to_string()).unwrap_or_default()
}

//! Keys, transactions, watches and leases of one member.

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, EventType, GetOptions, PutOptions, SortOrder,
    SortTarget, Txn, TxnOp, WatchOptions,
};

use super::Outcome;

pub async fn puts_and_gets(client: &mut Client) -> Outcome {
    let put = client.put("a", "1", None).await?;
    assert_eq!(put.header().map(|header| header.revision()), Some(2));
    let mut put = client.put("a", "2", Some(PutOptions::new().with_prev_key())).await?;
    assert_eq!(put.take_prev_key().map(|kv| kv.value().to_vec()), Some(b"1".to_vec()));
    client.put("b", "3", None).await?;
    let got = client.get("a", None).await?;
    let kv = &got.kvs()[0];
    assert_eq!((kv.value(), kv.create_revision(), kv.mod_revision()), (&b"2"[..], 2, 3));
    assert_eq!((kv.version(), kv.lease(), got.count(), got.more()), (2, 0, 1, false));
    let old = client.get("a", Some(GetOptions::new().with_revision(2))).await?;
    assert_eq!(old.kvs()[0].value(), b"1");
    let options = GetOptions::new()
        .with_all_keys()
        .with_sort(SortTarget::Mod, SortOrder::Descend)
        .with_limit(1);
    let newest = client.get("", Some(options)).await?;
    assert_eq!((newest.kvs()[0].key(), newest.count(), newest.more()), (&b"b"[..], 2, true));
    let counted = client.get("", Some(GetOptions::new().with_all_keys().with_count_only())).await?;
    assert_eq!((counted.count(), counted.kvs().len()), (2, 0));
    Ok(())
}

pub async fn transactions(client: &mut Client) -> Outcome {
    let txn = Txn::new()
        .when([Compare::mod_revision("a", CompareOp::Equal, 3)])
        .and_then([TxnOp::put("a", "then", None), TxnOp::get("a", None)])
        .or_else([TxnOp::get("b", None)]);
    let first = client.txn(txn.clone()).await?;
    assert!(first.succeeded());
    assert_eq!((first.op_responses().len(), first.header().map(|h| h.revision())), (2, Some(5)));
    let second = client.txn(txn).await?;
    assert!(!second.succeeded());
    assert_eq!(second.op_responses().len(), 1);
    Ok(())
}

pub async fn watches(client: &mut Client) -> Outcome {
    let options = WatchOptions::new().with_prefix().with_start_revision(5).with_prev_key();
    let mut stream = client.watch("a", Some(options)).await?;
    client.put("a/1", "now", None).await?;
    client.delete("a/1", None).await?;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let answer = stream.message().await?.ok_or("the watch ended")?;
        for event in answer.events() {
            let kv = event.kv().ok_or("an event without a key")?;
            let kind = if event.event_type() == EventType::Put { "put" } else { "delete" };
            seen.push(format!("{kind} {} at {}", kv.key_str()?, kv.mod_revision()));
        }
    }
    assert_eq!(seen, ["put a at 5", "put a/1 at 6", "delete a/1 at 7"]);
    Ok(())
}

pub async fn leases(client: &mut Client) -> Outcome {
    let lease = client.lease_grant(60, None).await?;
    assert_eq!(lease.ttl(), 60);
    client.put("l", "v", Some(PutOptions::new().with_lease(lease.id()))).await?;
    assert_eq!(client.get("l", None).await?.kvs()[0].lease(), lease.id());
    let (mut keeper, mut answers) = client.lease_keep_alive(lease.id()).await?;
    keeper.keep_alive().await?;
    let kept = answers.message().await?.ok_or("the keep-alive ended")?;
    assert_eq!((kept.id(), kept.ttl()), (lease.id(), 60));
    let left = client.lease_time_to_live(lease.id(), None).await?;
    assert!((50..=60).contains(&left.ttl()));
    client.lease_revoke(lease.id()).await?;
    assert_eq!(client.get("l", None).await?.count(), 0);
    Ok(())
}

pub async fn deletes_and_compaction(client: &mut Client) -> Outcome {
    let options = DeleteOptions::new().with_all_keys().with_prev_key();
    let deleted = client.delete("", Some(options)).await?;
    assert_eq!((deleted.deleted(), deleted.prev_kvs().len()), (2, 2));
    client.compact(5, None).await?;
    let refused = client.get("a", Some(GetOptions::new().with_revision(4))).await;
    let text = refused.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(text.contains("mvcc: required revision has been compacted"), "{text}");
    Ok(())
}

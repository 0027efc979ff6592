use quorate_proto::etcdserverpb::AlarmType;

use super::*;
use crate::ids::{LogIndex, Term};
use crate::storage::Rows;

/// The image of an etcd member that held nothing.
struct Adopted;

impl StateRead for Adopted {
    fn get(&self, _: Table, key: &[u8]) -> Result<Option<Bytes>, StorageFault> {
        Ok((key == b"quorate.adopted").then(Bytes::new))
    }

    fn scan(
        &self,
        _: Table,
        _: &[u8],
        _: &[u8],
        _: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), StorageFault> {
        Ok(())
    }
}

fn opened(image: Arc<dyn StateRead>, index: u64) -> Ledgers {
    let mut ledgers = Ledgers::open(&Config::default(), image).unwrap();
    ledgers.progress.mark.index = LogIndex(index);
    ledgers
}

/// Applies the next entry.
fn apply(ledgers: &mut Ledgers, term: Term, data: Bytes) -> Outcome {
    let index = ledgers.progress.mark.index.next();
    let entry = Entry { term, index, kind: EntryKind::Normal, data };
    ledgers.apply(Time::ZERO, &entry).unwrap().unwrap()
}

/// Applies these and tells the digest after each: 0 begins a term, others put a key.
fn digests(ledgers: &mut Ledgers, keys: &[u8]) -> Vec<u64> {
    let digest_after = |key: &u8| {
        let put = pb::PutRequest { key: Bytes::copy_from_slice(&[*key]), ..Default::default() };
        let request = InternalRaftRequest { put: Some(put), ..Default::default() };
        let data = if *key == 0 { Bytes::new() } else { request.encode_to_vec().into() };
        apply(ledgers, Term(4), data);
        ledgers.progress.digest
    };
    keys.iter().map(digest_after).collect()
}

#[test]
fn digests_depend_on_every_write() {
    let fresh = || opened(Arc::new(Rows::default()), 0);
    let found = digests(&mut fresh(), &[0, 1, 2]);
    assert_eq!(found, digests(&mut fresh(), &[0, 1, 2]));
    assert_ne!(found[2], digests(&mut fresh(), &[0, 2, 2])[2]);
    assert!(found[0] == 0 && found[1] != 0);
}

#[test]
fn adopted_members_agree_from_the_next_terms_first_entry_on() {
    let mut early = opened(Arc::new(Adopted), 7);
    let early = digests(&mut early, &[1, 2, 0, 3, 4]);
    // This one was adopted an entry later.
    let mut late = opened(Arc::new(Adopted), 7);
    assert_eq!(digests(&mut late, &[1]), [0]);
    let late = digests(&mut late, &[2, 0, 3, 4]);
    assert_eq!(early[..2], [0, 0]);
    assert_eq!(late[0], 0);
    assert_eq!(early[2..], late[1..]);
    assert!(early[2..].iter().all(|digest| *digest != 0));
    let mut other = opened(Arc::new(Adopted), 7);
    assert_ne!(digests(&mut other, &[1, 2, 0, 4, 4])[3], early[3]);
}

/// What was written, and nothing else: reading one record by its key is a mistake.
struct Scanned(Rows);

impl StateRead for Scanned {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageFault> {
        assert_ne!(table, Table::Key, "records are scanned");
        self.0.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: &[u8],
        visit: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
    ) -> Result<(), StorageFault> {
        self.0.scan(table, from, until, visit)
    }
}

#[test]
fn keys_hang_on_their_leases_again_after_one_look_at_every_record() {
    let grant = |id| InternalRaftRequest {
        lease_grant: Some(pb::LeaseGrantRequest { ttl: 60, id }.into()),
        ..Default::default()
    };
    let put = |key: &'static str, lease| InternalRaftRequest {
        put: Some(pb::PutRequest { key: key.into(), lease, ..Default::default() }),
        ..Default::default()
    };
    let delete = |key: &'static str| InternalRaftRequest {
        delete_range: Some(pb::DeleteRangeRequest { key: key.into(), ..Default::default() }.into()),
        ..Default::default()
    };
    let puts = [("stays", 1), ("moves", 1), ("moves", 2), ("freed", 1), ("freed", 0), ("dies", 1)];
    let puts = puts.map(|(key, lease)| put(key, lease));
    let requests = [grant(1), grant(2)].into_iter().chain(puts).chain([delete("dies")]);
    let mut ledgers = opened(Arc::new(Rows::default()), 0);
    let mut rows = Rows::default();
    for request in requests {
        let outcome = apply(&mut ledgers, Term(1), request.encode_to_vec().into());
        assert!(matches!(outcome.result, Some(Ok(_))), "{:?}", outcome.result);
        rows.write(&outcome.writes);
    }
    let again = Ledgers::open(&Config::default(), Arc::new(Scanned(rows))).unwrap();
    for leases in [&ledgers.leases, &again.leases] {
        let keys = |id| leases.keys_of(LeaseId(id)).cloned().collect::<Vec<_>>();
        assert_eq!(keys(1), ["stays"]);
        assert_eq!(keys(2), ["moves"]);
    }
}

#[test]
fn raised_alarms_refuse_what_they_must_and_nothing_else() {
    let ask = |request: fn(&mut InternalRaftRequest)| {
        let mut all = InternalRaftRequest::default();
        request(&mut all);
        all
    };
    let requests = [
        ("put", ask(|r| r.put = Some(pb::PutRequest { key: "k".into(), ..Default::default() }))),
        ("grant", ask(|r| r.lease_grant = Some(pb::LeaseGrantRequest { ttl: 60, id: 7 }.into()))),
        ("delete", ask(|r| r.delete_range = Some(pb::DeleteRangeRequest::default().into()))),
        ("txn", ask(|r| r.txn = Some(pb::TxnRequest::default().into()))),
        ("compaction", ask(|r| r.compaction = Some(pb::CompactionRequest::default().into()))),
        ("revoke", ask(|r| r.lease_revoke = Some(pb::LeaseRevokeRequest { id: 9 }.into()))),
    ];
    let refused_by = |alarm: AlarmType| {
        let mut ledgers = opened(Arc::new(Rows::default()), 0);
        let action = pb::alarm_request::AlarmAction::Activate as i32;
        let raise = pb::AlarmRequest { action, member_id: 1, alarm: alarm as i32 };
        let raise = InternalRaftRequest { alarm: Some(raise.into()), ..Default::default() };
        let all = [("raise", raise)].into_iter().chain(requests.clone());
        let mut refused = Vec::new();
        for (name, request) in all {
            let outcome = apply(&mut ledgers, Term(1), request.encode_to_vec().into());
            let is_refused =
                matches!(outcome.result, Some(Err(Refusal::Corrupt | Refusal::NoSpace)));
            refused.extend(is_refused.then_some(name));
        }
        refused
    };
    assert_eq!(
        refused_by(AlarmType::Corrupt),
        ["put", "grant", "delete", "txn", "compaction", "revoke"]
    );
    assert_eq!(refused_by(AlarmType::Nospace), ["put", "grant"]);
}

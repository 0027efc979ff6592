//! What each line of a scenario asks.

use bytes::Bytes;
use quorate_proto::authpb::{Permission, UserAddOptions, permission::Type};
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb::{self as pb, alarm_request::AlarmAction, request_op};
use quorate_proto::{v3electionpb as election, v3lockpb as lock};
use tonic::Status;

use super::{Said, Side};
use crate::judge::level_spaces;

pub(super) fn key(word: &str) -> Bytes {
    Bytes::copy_from_slice(word.as_bytes())
}

/// The number after `name=` among the words.
fn number(words: &[&str], name: &str) -> i64 {
    let found = words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    found.map_or(0, |number| number.parse().expect("a number"))
}

/// The first word that is no option.
fn range_end(words: &[&str]) -> Bytes {
    let is_end = |word: &&&str| !matches!(**word, "prev" | "serial") && !word.contains('=');
    words.first().filter(is_end).map_or_else(Bytes::new, |word| key(word))
}

macro_rules! ask {
    ($side:expr, $who:expr, $path:literal, $response:ident, $request:expr) => {
        $side
            .unary::<pb::$response>($who, concat!("/etcdserverpb.", $path), &$request)
            .map(|answer| format!("{answer:?}"))
    };
}

impl Side {
    pub(super) fn ask(&mut self, who: &str, words: &[&str]) -> Said {
        match words {
            ["login", name, password] => self.log_in(who, (name, password), name),
            ["login", name, password, "as", under] => self.log_in(who, (name, password), under),
            ["converse", name] => self.converse(who, name),
            ["member", "add-learner", url] => self.add_learner(who, url),
            ["proclaim", _] | ["resign-seat"] => self.ask_seat(who, words),
            ["observe", name] => self.observe(who, name),
            ["health", words @ ..] => self.ask_health(who, words),
            ["auth", what] => self.ask_auth(who, what),
            ["user", words @ ..] => self.ask_user(who, words),
            ["role", words @ ..] => self.ask_role(who, words),
            ["lease", words @ ..] => self.ask_lease(who, words),
            ["member", words @ ..] => self.ask_member(who, words),
            ["lock" | "unlock" | "campaign" | "leader" | "resign", ..] => {
                self.ask_recipe(who, words)
            }
            ["put" | "get" | "del" | "range-stream" | "txn" | "compact" | "watch", ..] => {
                self.ask_keys(who, words)
            }
            _ => self.ask_upkeep(who, words),
        }
    }

    fn ask_auth(&self, who: &str, what: &str) -> Said {
        match what {
            "enable" => {
                let request = pb::AuthEnableRequest {};
                ask!(self, who, "Auth/AuthEnable", AuthEnableResponse, request)
            }
            "disable" => {
                let request = pb::AuthDisableRequest {};
                ask!(self, who, "Auth/AuthDisable", AuthDisableResponse, request)
            }
            _ => {
                let request = pb::AuthStatusRequest {};
                ask!(self, who, "Auth/AuthStatus", AuthStatusResponse, request)
            }
        }
    }

    fn ask_user(&self, who: &str, words: &[&str]) -> Said {
        let add = |name: &str| pb::AuthUserAddRequest { name: name.to_owned(), ..<_>::default() };
        let change = |name: &str, password: &str, hashed: &str| pb::AuthUserChangePasswordRequest {
            name: name.to_owned(),
            password: password.to_owned(),
            hashed_password: hashed.to_owned(),
        };
        let added = |request| ask!(self, who, "Auth/UserAdd", AuthUserAddResponse, request);
        let changed = |request| {
            ask!(self, who, "Auth/UserChangePassword", AuthUserChangePasswordResponse, request)
        };
        match *words {
            ["list"] => {
                ask!(self, who, "Auth/UserList", AuthUserListResponse, pb::AuthUserListRequest {})
            }
            ["get", name] => {
                let request = pb::AuthUserGetRequest { name: name.to_owned() };
                ask!(self, who, "Auth/UserGet", AuthUserGetResponse, request)
            }
            ["add", name, word] => {
                added(pb::AuthUserAddRequest { password: word.to_owned(), ..add(name) })
            }
            ["add-bare", name] => {
                let options = Some(UserAddOptions { no_password: true });
                added(pb::AuthUserAddRequest { options, ..add(name) })
            }
            ["add-hashed", name, hash] => {
                added(pb::AuthUserAddRequest { hashed_password: hash.to_owned(), ..add(name) })
            }
            ["passwd", name, word] => changed(change(name, word, "")),
            ["passwd-hashed", name, hash] => changed(change(name, "", hash)),
            ["delete", name] => {
                let request = pb::AuthUserDeleteRequest { name: name.to_owned() };
                ask!(self, who, "Auth/UserDelete", AuthUserDeleteResponse, request)
            }
            ["grant", user, role] => {
                let (user, role) = (user.to_owned(), role.to_owned());
                let request = pb::AuthUserGrantRoleRequest { user, role };
                ask!(self, who, "Auth/UserGrantRole", AuthUserGrantRoleResponse, request)
            }
            ["revoke", user, role] => {
                let (name, role) = (user.to_owned(), role.to_owned());
                let request = pb::AuthUserRevokeRoleRequest { name, role };
                ask!(self, who, "Auth/UserRevokeRole", AuthUserRevokeRoleResponse, request)
            }
            _ => panic!("user {words:?}?"),
        }
    }

    fn ask_role(&self, who: &str, words: &[&str]) -> Said {
        let permitted = |request| {
            ask!(self, who, "Auth/RoleGrantPermission", AuthRoleGrantPermissionResponse, request)
        };
        match *words {
            ["list"] => {
                ask!(self, who, "Auth/RoleList", AuthRoleListResponse, pb::AuthRoleListRequest {})
            }
            ["get", role] => {
                let request = pb::AuthRoleGetRequest { role: role.to_owned() };
                ask!(self, who, "Auth/RoleGet", AuthRoleGetResponse, request)
            }
            ["add", name] => {
                let request = pb::AuthRoleAddRequest { name: name.to_owned() };
                ask!(self, who, "Auth/RoleAdd", AuthRoleAddResponse, request)
            }
            ["delete", role] => {
                let request = pb::AuthRoleDeleteRequest { role: role.to_owned() };
                ask!(self, who, "Auth/RoleDelete", AuthRoleDeleteResponse, request)
            }
            ["permit-nothing", name] => {
                let name = name.to_owned();
                permitted(pb::AuthRoleGrantPermissionRequest { name, perm: None })
            }
            ["permit", name, kind, first, ref end @ ..] => {
                let perm_type = match Type::from_str_name(kind) {
                    Some(kind) => kind.into(),
                    None => kind.parse().expect("a kind or a number"),
                };
                let perm = Permission { perm_type, key: key(first), range_end: range_end(end) };
                let (name, perm) = (name.to_owned(), Some(perm));
                permitted(pb::AuthRoleGrantPermissionRequest { name, perm })
            }
            ["forbid", role, first, ref end @ ..] => {
                let (role, key, range_end) = (role.to_owned(), key(first), range_end(end));
                let request = pb::AuthRoleRevokePermissionRequest { role, key, range_end };
                let path = "/etcdserverpb.Auth/RoleRevokePermission";
                let answer: Result<pb::AuthRoleRevokePermissionResponse, Status> =
                    self.unary(who, path, &request);
                answer.map(|answer| format!("{answer:?}"))
            }
            _ => panic!("role {words:?}?"),
        }
    }

    fn ask_keys(&self, who: &str, words: &[&str]) -> Said {
        match *words {
            ["put", key, value, ref more @ ..] => {
                ask!(self, who, "KV/Put", PutResponse, put(key, value, more))
            }
            ["get", key, ref more @ ..] => {
                ask!(self, who, "KV/Range", RangeResponse, range(key, more))
            }
            ["range-stream", key, ref more @ ..] => {
                let path = "/etcdserverpb.KV/RangeStream";
                let first = self.streamed::<pb::RangeStreamResponse>(who, path, &range(key, more));
                first.map(|answer| format!("{answer:?}"))
            }
            ["del", key, ref more @ ..] => {
                ask!(self, who, "KV/DeleteRange", DeleteRangeResponse, delete(key, more))
            }
            ["txn", ref rest @ ..] => {
                let mut words = rest.iter().copied();
                ask!(self, who, "KV/Txn", TxnResponse, txn(&mut words))
            }
            ["compact", revision] => {
                let revision = revision.parse().expect("a revision");
                let request = pb::CompactionRequest { revision, physical: false };
                ask!(self, who, "KV/Compact", CompactionResponse, request)
            }
            ["watch", first, ref more @ ..] => {
                let (key, range_end) = (key(first), range_end(more));
                let start_revision = number(more, "rev");
                let prev_kv = more.contains(&"prev");
                let fresh = pb::WatchCreateRequest::default();
                let create =
                    pb::WatchCreateRequest { key, range_end, start_revision, prev_kv, ..fresh };
                let request_union = Some(RequestUnion::CreateRequest(create));
                let request = pb::WatchRequest { request_union };
                let path = "/etcdserverpb.Watch/Watch";
                let first = self.first::<pb::WatchResponse>(who, path, &request);
                first.map(|answer| format!("{answer:?}"))
            }
            _ => panic!("{words:?}?"),
        }
    }

    fn ask_lease(&self, who: &str, words: &[&str]) -> Said {
        let number = |word: &str| word.parse().expect("a number");
        match *words {
            ["grant", id, ttl] => {
                let request = pb::LeaseGrantRequest { ttl: number(ttl), id: number(id) };
                ask!(self, who, "Lease/LeaseGrant", LeaseGrantResponse, request)
            }
            ["revoke", id] => {
                let request = pb::LeaseRevokeRequest { id: number(id) };
                ask!(self, who, "Lease/LeaseRevoke", LeaseRevokeResponse, request)
            }
            ["ttl", id, ref more @ ..] => {
                let request =
                    pb::LeaseTimeToLiveRequest { id: number(id), keys: *more == ["keys"] };
                let path = "/etcdserverpb.Lease/LeaseTimeToLive";
                let mut told = self.unary::<pb::LeaseTimeToLiveResponse>(who, path, &request)?;
                // etcd tells keys in no order; and time goes by.
                told.keys.sort();
                let ttl = told.ttl.signum();
                Ok(format!("{:?}", pb::LeaseTimeToLiveResponse { ttl, ..told }))
            }
            ["alive", id] => {
                let request = pb::LeaseKeepAliveRequest { id: number(id) };
                let path = "/etcdserverpb.Lease/LeaseKeepAlive";
                let first = self.first::<pb::LeaseKeepAliveResponse>(who, path, &request);
                first.map(|answer| format!("{answer:?}"))
            }
            ["list"] => {
                let request = pb::LeaseLeasesRequest {};
                ask!(self, who, "Lease/LeaseLeases", LeaseLeasesResponse, request)
            }
            _ => panic!("lease {words:?}?"),
        }
    }

    fn ask_member(&self, who: &str, words: &[&str]) -> Said {
        let number = |word: &str| match word {
            "learner" => self.learner,
            word => word.parse().expect("a number"),
        };
        match *words {
            ["list", ref more @ ..] => {
                let request = pb::MemberListRequest { linearizable: *more == ["linear"] };
                let path = "/etcdserverpb.Cluster/MemberList";
                self.unary::<pb::MemberListResponse>(who, path, &request)
                    .map(|told| names(&told.members))
            }
            ["add", url] => {
                let peer_ur_ls = vec![url.to_owned()];
                let request = pb::MemberAddRequest { peer_ur_ls, is_learner: false };
                ask!(self, who, "Cluster/MemberAdd", MemberAddResponse, request)
            }
            ["remove", id] => {
                let request = pb::MemberRemoveRequest { id: number(id) };
                let path = "/etcdserverpb.Cluster/MemberRemove";
                self.unary::<pb::MemberRemoveResponse>(who, path, &request)
                    .map(|told| names(&told.members))
            }
            ["update", id] => {
                let peer_ur_ls = vec!["http://127.0.0.1:1".to_owned()];
                let request = pb::MemberUpdateRequest { id: number(id), peer_ur_ls };
                let path = "/etcdserverpb.Cluster/MemberUpdate";
                self.unary::<pb::MemberUpdateResponse>(who, path, &request)
                    .map(|told| names(&told.members))
            }
            ["promote", id] => {
                let request = pb::MemberPromoteRequest { id: number(id) };
                let path = "/etcdserverpb.Cluster/MemberPromote";
                self.unary::<pb::MemberPromoteResponse>(who, path, &request)
                    .map(|told| names(&told.members))
            }
            _ => panic!("member {words:?}?"),
        }
    }

    fn ask_upkeep(&self, who: &str, words: &[&str]) -> Said {
        let alarm = |action: AlarmAction| {
            let alarm = pb::AlarmType::Nospace.into();
            let action = action.into();
            let request = pb::AlarmRequest { action, member_id: 1, alarm };
            ask!(self, who, "Maintenance/Alarm", AlarmResponse, request)
        };
        match *words {
            ["alarm", "get"] => alarm(AlarmAction::Get),
            ["alarm", "raise"] => alarm(AlarmAction::Activate),
            ["alarm", "drop"] => alarm(AlarmAction::Deactivate),
            ["status"] => {
                let path = "/etcdserverpb.Maintenance/Status";
                let told = self.unary::<pb::StatusResponse>(who, path, &pb::StatusRequest {})?;
                let errors: Vec<_> = told.errors.iter().map(|error| level_spaces(error)).collect();
                Ok(format!("{} {errors:?}", told.version))
            }
            ["defrag"] => {
                let request = pb::DefragmentRequest {};
                ask!(self, who, "Maintenance/Defragment", DefragmentResponse, request)
            }
            ["hash"] => {
                let path = "/etcdserverpb.Maintenance/Hash";
                self.unary::<pb::HashResponse>(who, path, &pb::HashRequest {})?;
                Ok("a hash".to_owned())
            }
            ["hashkv"] => {
                let request = pb::HashKvRequest { revision: 0 };
                ask!(self, who, "Maintenance/HashKV", HashKvResponse, request)
            }
            ["snapshot"] => {
                let path = "/etcdserverpb.Maintenance/Snapshot";
                self.streamed::<pb::SnapshotResponse>(who, path, &pb::SnapshotRequest {})?;
                Ok("a snapshot".to_owned())
            }
            ["move-leader", to] => {
                let request = pb::MoveLeaderRequest { target_id: to.parse().expect("a number") };
                ask!(self, who, "Maintenance/MoveLeader", MoveLeaderResponse, request)
            }
            ["downgrade", action, version] => {
                use pb::downgrade_request::DowngradeAction;
                let action = match DowngradeAction::from_str_name(action) {
                    Some(action) => action.into(),
                    None => action.parse().expect("an action or a number"),
                };
                let request = pb::DowngradeRequest { action, version: version.to_owned() };
                ask!(self, who, "Maintenance/Downgrade", DowngradeResponse, request)
            }
            _ => panic!("{words:?}?"),
        }
    }

    /// The key a candidate gets names its lease.
    fn ask_recipe(&mut self, who: &str, words: &[&str]) -> Said {
        let number = |word: &str| word.parse::<i64>().expect("a number");
        match *words {
            ["lock", name, lease] => {
                let request = lock::LockRequest { name: key(name), lease: number(lease) };
                let told: Result<lock::LockResponse, _> =
                    self.unary(who, "/v3lockpb.Lock/Lock", &request);
                told.map(|told| format!("{told:?}"))
            }
            ["unlock", name] => {
                let request = lock::UnlockRequest { key: key(name) };
                let told: Result<lock::UnlockResponse, _> =
                    self.unary(who, "/v3lockpb.Lock/Unlock", &request);
                told.map(|told| format!("{told:?}"))
            }
            ["campaign", name, lease, value] => {
                let (name, lease, value) = (key(name), number(lease), key(value));
                let request = election::CampaignRequest { name, lease, value };
                let told: Result<election::CampaignResponse, _> =
                    self.unary(who, "/v3electionpb.Election/Campaign", &request);
                if let Ok(told) = &told {
                    self.seat.clone_from(&told.leader);
                }
                told.map(|told| format!("{told:?}"))
            }
            ["leader", name] => {
                let request = election::LeaderRequest { name: key(name) };
                let told: Result<election::LeaderResponse, _> =
                    self.unary(who, "/v3electionpb.Election/Leader", &request);
                told.map(|told| format!("{told:?}"))
            }
            ["resign", name, lease] => {
                let leader = election::LeaderKey {
                    name: key(name),
                    key: key(&format!("{name}/{lease}")),
                    rev: 1,
                    lease: number(lease),
                };
                let request = election::ResignRequest { leader: Some(leader) };
                let told: Result<election::ResignResponse, _> =
                    self.unary(who, "/v3electionpb.Election/Resign", &request);
                told.map(|told| format!("{told:?}"))
            }
            _ => panic!("{words:?}?"),
        }
    }
}

/// Members without what differs between any two clusters.
pub(super) fn names(members: &[pb::Member]) -> String {
    let shown = |one: &pb::Member| match one.is_learner {
        true => format!("a learner at {:?}", one.peer_ur_ls),
        false => one.name.clone(),
    };
    let mut names: Vec<String> = members.iter().map(shown).collect();
    names.sort();
    names.join(", ")
}

fn put(name: &str, value: &str, more: &[&str]) -> pb::PutRequest {
    pb::PutRequest {
        key: key(name),
        value: key(value),
        lease: number(more, "lease"),
        prev_kv: more.contains(&"prev"),
        ignore_value: more.contains(&"ignore-value"),
        ignore_lease: false,
    }
}

fn range(name: &str, more: &[&str]) -> pb::RangeRequest {
    pb::RangeRequest {
        key: key(name),
        range_end: range_end(more),
        revision: number(more, "rev"),
        serializable: more.contains(&"serial"),
        ..pb::RangeRequest::default()
    }
}

fn delete(name: &str, more: &[&str]) -> pb::DeleteRangeRequest {
    let prev_kv = more.contains(&"prev");
    pb::DeleteRangeRequest { key: key(name), range_end: range_end(more), prev_kv }
}

/// `if KEY`, `if-range KEY END`, `then OPERATION...`, `else OPERATION...`, up to a closing bracket.
fn txn<'a>(words: &mut impl Iterator<Item = &'a str>) -> pb::TxnRequest {
    use request_op::Request as Op;
    let mut txn = pb::TxnRequest::default();
    let mut is_else = false;
    while let Some(word) = words.next() {
        let mut next = || words.next().expect("a word more");
        let op = match word {
            ")" => break,
            "then" | "else" => {
                is_else = word == "else";
                continue;
            }
            "if" | "if-range" => {
                let first = next();
                let end = if word == "if" { Bytes::new() } else { key(next()) };
                let compare = pb::Compare { key: key(first), range_end: end, ..<_>::default() };
                txn.compare.push(compare);
                continue;
            }
            "(" => {
                assert_eq!(next(), "txn");
                Op::RequestTxn(self::txn(&mut *words))
            }
            "put" => Op::RequestPut(put(next(), next(), &[])),
            "put-prev" => Op::RequestPut(put(next(), next(), &["prev"])),
            "put-lease" => {
                let (name, lease) = (next(), format!("lease={}", next()));
                Op::RequestPut(put(name, "v", &[&lease]))
            }
            "get" => Op::RequestRange(range(next(), &[])),
            "get-range" => Op::RequestRange(range(next(), &[next()])),
            "del" => Op::RequestDeleteRange(delete(next(), &[])),
            "del-prev" => Op::RequestDeleteRange(delete(next(), &["prev"])),
            "del-range" => Op::RequestDeleteRange(delete(next(), &[next()])),
            _ => panic!("{word} in a transaction?"),
        };
        let branch = if is_else { &mut txn.failure } else { &mut txn.success };
        branch.push(pb::RequestOp { request: Some(op) });
    }
    txn
}

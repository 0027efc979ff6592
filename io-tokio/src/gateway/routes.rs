//! Paths and the methods they stand for.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::uri::PathAndQuery;

use super::shapes::{Shape, pool};

/// A path's method.
pub(super) struct Route {
    /// Where gRPC has it.
    pub(super) path: PathAndQuery,
    /// What it takes and gives, and whether that is any number.
    pub(super) takes: &'static Shape,
    pub(super) gives: &'static Shape,
    pub(super) is_client_streaming: bool,
    pub(super) is_server_streaming: bool,
}

/// Where the paths begin: the second was the first's name once.
const ROOTS: [&str; 2] = ["/v3/", "/v3beta/"];

/// Every path below a root: service, method. Three of lease's have an older name as well.
const TABLE: &[(&str, &str, &str)] = &[
    ("kv/range", "etcdserverpb.KV", "Range"),
    ("kv/put", "etcdserverpb.KV", "Put"),
    ("kv/deleterange", "etcdserverpb.KV", "DeleteRange"),
    ("kv/txn", "etcdserverpb.KV", "Txn"),
    ("kv/compaction", "etcdserverpb.KV", "Compact"),
    ("watch", "etcdserverpb.Watch", "Watch"),
    ("lease/grant", "etcdserverpb.Lease", "LeaseGrant"),
    ("lease/revoke", "etcdserverpb.Lease", "LeaseRevoke"),
    ("kv/lease/revoke", "etcdserverpb.Lease", "LeaseRevoke"),
    ("lease/keepalive", "etcdserverpb.Lease", "LeaseKeepAlive"),
    ("lease/timetolive", "etcdserverpb.Lease", "LeaseTimeToLive"),
    ("kv/lease/timetolive", "etcdserverpb.Lease", "LeaseTimeToLive"),
    ("lease/leases", "etcdserverpb.Lease", "LeaseLeases"),
    ("kv/lease/leases", "etcdserverpb.Lease", "LeaseLeases"),
    ("cluster/member/add", "etcdserverpb.Cluster", "MemberAdd"),
    ("cluster/member/remove", "etcdserverpb.Cluster", "MemberRemove"),
    ("cluster/member/update", "etcdserverpb.Cluster", "MemberUpdate"),
    ("cluster/member/list", "etcdserverpb.Cluster", "MemberList"),
    ("cluster/member/promote", "etcdserverpb.Cluster", "MemberPromote"),
    ("maintenance/alarm", "etcdserverpb.Maintenance", "Alarm"),
    ("maintenance/status", "etcdserverpb.Maintenance", "Status"),
    ("maintenance/defragment", "etcdserverpb.Maintenance", "Defragment"),
    ("maintenance/hash", "etcdserverpb.Maintenance", "Hash"),
    ("maintenance/hashkv", "etcdserverpb.Maintenance", "HashKV"),
    ("maintenance/snapshot", "etcdserverpb.Maintenance", "Snapshot"),
    ("maintenance/transfer-leadership", "etcdserverpb.Maintenance", "MoveLeader"),
    ("maintenance/downgrade", "etcdserverpb.Maintenance", "Downgrade"),
    ("auth/enable", "etcdserverpb.Auth", "AuthEnable"),
    ("auth/disable", "etcdserverpb.Auth", "AuthDisable"),
    ("auth/status", "etcdserverpb.Auth", "AuthStatus"),
    ("auth/authenticate", "etcdserverpb.Auth", "Authenticate"),
    ("auth/user/add", "etcdserverpb.Auth", "UserAdd"),
    ("auth/user/get", "etcdserverpb.Auth", "UserGet"),
    ("auth/user/list", "etcdserverpb.Auth", "UserList"),
    ("auth/user/delete", "etcdserverpb.Auth", "UserDelete"),
    ("auth/user/changepw", "etcdserverpb.Auth", "UserChangePassword"),
    ("auth/user/grant", "etcdserverpb.Auth", "UserGrantRole"),
    ("auth/user/revoke", "etcdserverpb.Auth", "UserRevokeRole"),
    ("auth/role/add", "etcdserverpb.Auth", "RoleAdd"),
    ("auth/role/get", "etcdserverpb.Auth", "RoleGet"),
    ("auth/role/list", "etcdserverpb.Auth", "RoleList"),
    ("auth/role/delete", "etcdserverpb.Auth", "RoleDelete"),
    ("auth/role/grant", "etcdserverpb.Auth", "RoleGrantPermission"),
    ("auth/role/revoke", "etcdserverpb.Auth", "RoleRevokePermission"),
    ("lock/lock", "v3lockpb.Lock", "Lock"),
    ("lock/unlock", "v3lockpb.Lock", "Unlock"),
    ("election/campaign", "v3electionpb.Election", "Campaign"),
    ("election/proclaim", "v3electionpb.Election", "Proclaim"),
    ("election/leader", "v3electionpb.Election", "Leader"),
    ("election/observe", "v3electionpb.Election", "Observe"),
    ("election/resign", "v3electionpb.Election", "Resign"),
];

static ROUTES: LazyLock<BTreeMap<&str, Route>> = LazyLock::new(|| {
    let route = |(path, service, name): &(&'static str, &str, &str)| {
        let service_found = pool().get_service_by_name(service)?;
        let method = service_found.methods().find(|method| method.name() == *name)?;
        let route = Route {
            path: PathAndQuery::try_from(format!("/{service}/{name}")).ok()?,
            takes: Shape::of(&method.input())?,
            gives: Shape::of(&method.output())?,
            is_client_streaming: method.is_client_streaming(),
            is_server_streaming: method.is_server_streaming(),
        };
        Some((*path, route))
    };
    TABLE.iter().filter_map(route).collect()
});

/// The path below the root, if it is a gateway's.
pub(super) fn below_root(path: &str) -> Option<&str> {
    ROOTS.iter().find_map(|root| path.strip_prefix(root))
}

/// The route of a path.
pub(super) fn find(path: &str) -> Option<&'static Route> {
    ROUTES.get(below_root(path)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::metrics::METHODS;

    #[test]
    fn every_path_has_its_method_and_every_method_its_path() {
        assert_eq!(ROUTES.len(), TABLE.len());
        let routed: BTreeSet<&str> = ROUTES.values().map(|route| route.path.as_str()).collect();
        let unrouted: Vec<String> = METHODS
            .iter()
            .map(|method| format!("/{}/{}", method.service, method.name))
            .filter(|path| !routed.contains(path.as_str()))
            .collect();
        let expected = ["KV/RangeStream", "Health/Check", "Health/List", "Health/Watch"];
        assert_eq!(unrouted.len(), expected.len(), "{unrouted:?}");
        assert!(unrouted.iter().zip(expected).all(|(path, name)| path.ends_with(name)));
    }

    /// All but one, which answers in as many messages as it likes.
    #[test]
    fn every_path_occurs_in_the_session_that_is_tested() {
        let session = include_str!("../../tests/accept/gateway.txt");
        let absent = TABLE.iter().filter(|(path, ..)| {
            let path = format!("> POST /v3/{path}");
            !session.lines().any(|line| line == path || line.starts_with(&format!("{path} ")))
        });
        let absent: Vec<&str> = absent.map(|(path, ..)| *path).collect();
        assert_eq!(absent, ["maintenance/snapshot"]);
    }

    #[test]
    fn roots() {
        let path = |path| find(path).map(|route| route.path.as_str());
        assert_eq!(path("/v3/kv/range"), Some("/etcdserverpb.KV/Range"));
        assert_eq!(path("/v3beta/watch"), Some("/etcdserverpb.Watch/Watch"));
        for unknown in ["/v3alpha/kv/range", "/v3/kv/range/", "/v3/kv/rangestream", "/v3/", "/v3"] {
            assert_eq!(path(unknown), None);
        }
    }
}

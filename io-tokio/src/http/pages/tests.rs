use http_body_util::BodyExt as _;
use quorate_core::View;
use quorate_core::error::Refusal;
use quorate_core::ids::{ClusterId, MemberId};
use quorate_core::view::Facts;
use quorate_proto::etcdserverpb as pb;

use super::*;

/// A member with these facts, whose cluster answers or does not.
struct Member {
    facts: Facts,
    barrier: Result<(), Refusal>,
}

impl Probe for Member {
    fn view(&self) -> View {
        crate::grpc::reads::view_of(self.facts.clone())
    }

    async fn read(&self) -> Result<View, Refusal> {
        self.barrier.map(|()| self.view())
    }
}

fn healthy() -> Member {
    let mut facts = Facts { member: MemberId(1), cluster: ClusterId(0xab), ..Facts::default() };
    facts.role.leader = Some(MemberId(1));
    Member { facts, barrier: Ok(()) }
}

fn alarmed(kind: pb::AlarmType) -> Member {
    let mut member = healthy();
    member.facts.alarms = [pb::AlarmMember { member_id: 1, alarm: kind as i32 }].into();
    member
}

async fn body(page: Page) -> (u16, String) {
    let code = page.status().as_u16();
    let bytes = page.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(bytes.to_vec()).unwrap())
}

async fn health_of(member: &Member, query: &str) -> (u16, String) {
    let (page, is_good) = health(member, &Query::parse(query)).await;
    assert_eq!(is_good, page.status() == StatusCode::OK);
    body(page).await
}

#[tokio::test]
async fn health_tells_the_first_trouble() {
    let leaderless = Member { facts: Facts::default(), barrier: Ok(()) };
    let cut_off = Member { barrier: Err(Refusal::Timeout), ..healthy() };
    let good = r#"{"health":"true","reason":""}"#;
    let bad = |reason: &str| format!("{{\"health\":\"false\",\"reason\":\"{reason}\"}}\n");
    for (member, query, code, expected) in [
        (healthy(), "", 200, good.to_owned()),
        (alarmed(pb::AlarmType::Nospace), "", 503, bad("ALARM NOSPACE")),
        (alarmed(pb::AlarmType::Corrupt), "exclude=NOSPACE", 503, bad("ALARM CORRUPT")),
        (alarmed(pb::AlarmType::Nospace), "exclude=NOSPACE", 200, good.to_owned()),
        (alarmed(pb::AlarmType::None), "", 503, bad("ALARM UNKNOWN")),
        (leaderless, "", 503, bad("RAFT NO LEADER")),
        (cut_off, "", 503, bad("RANGE ERROR:etcdserver: request timed out")),
    ] {
        assert_eq!(health_of(&member, query).await, (code, expected), "{query}");
    }
}

#[tokio::test]
async fn a_members_own_word_needs_no_leader() {
    let alone = Member { facts: Facts::default(), barrier: Err(Refusal::NoLeader) };
    assert_eq!(health_of(&alone, "serializable=true").await.0, 200);
    assert_eq!(health_of(&alone, "serializable=1").await.0, 503);
}

#[tokio::test]
async fn checks_list_themselves_when_asked_or_failing() {
    let cut_off = || Member { barrier: Err(Refusal::Timeout), ..healthy() };
    for (member, path, query, code, expected) in [
        (healthy(), "/livez", "", 200, "ok\n"),
        (healthy(), "/livez", "verbose", 200, "[+]serializable_read ok\nok\n"),
        (healthy(), "/livez/serializable_read", "", 200, "ok\n"),
        (
            healthy(),
            "/readyz",
            "verbose&exclude=linearizable_read&exclude=nonsense",
            200,
            "[+]data_corruption ok\n[+]serializable_read ok\n[+]non_learner ok\nok\n",
        ),
        (cut_off(), "/readyz", "exclude=linearizable_read", 200, "ok\n"),
        (
            cut_off(),
            "/readyz",
            "",
            503,
            "[+]data_corruption ok\n[+]serializable_read ok\n\
             [-]linearizable_read failed: etcdserver: request timed out\n[+]non_learner ok\n\n",
        ),
        (alarmed(pb::AlarmType::Nospace), "/readyz", "", 200, "ok\n"),
        (
            alarmed(pb::AlarmType::Corrupt),
            "/readyz/data_corruption",
            "",
            503,
            "[-]data_corruption failed: alarm activated: CORRUPT\n\n",
        ),
    ] {
        let Some(Kind::Checks(checks)) = find(Surface::Client, path) else { panic!("{path}") };
        let page = checked(&member, checks, &Query::parse(query), &|_, _| {}).await;
        assert_eq!(page.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(body(page).await, (code, expected.to_owned()), "{path}?{query}");
    }
}

#[test]
fn each_surface_has_its_pages() {
    let all = ["/health", "/livez", "/readyz/non_learner", "/metrics", "/version", "/members"];
    for (surface, served) in [
        (Surface::Client, [true, true, true, true, true, false]),
        (Surface::Metrics, [true, true, true, true, false, false]),
        (Surface::Peer, [false, false, false, false, true, true]),
    ] {
        assert_eq!(all.map(|path| find(surface, path).is_some()), served);
        for path in ["/", "/nope", "/livez/", "/livez/non_learner", "/health/"] {
            assert!(find(surface, path).is_none(), "{path}");
        }
    }
}

#[tokio::test]
async fn versions_and_members_are_json() {
    let mut member = healthy();
    let own = env!("CARGO_PKG_VERSION");
    let rest = format!(r#""storage":"unknown","quorate":"{own}"}}"#);
    let undecided = r#"{"etcdserver":"3.7.1","etcdcluster":"not_decided","#;
    assert_eq!(versions(&member), format!("{undecided}{rest}"));
    member.facts.cluster_version = "3.7.0".into();
    assert!(versions(&member).contains(r#""etcdcluster":"3.7.0","storage":"3.7.0""#));
    member.facts.members = [pb::Member {
        id: 7,
        name: "m".to_owned(),
        peer_ur_ls: vec!["http://a:1".to_owned()],
        client_ur_ls: Vec::new(),
        is_learner: true,
    }]
    .into();
    let page = members(&member);
    assert_eq!(page.headers()["x-etcd-cluster-id"], "ab");
    let (code, text) = body(page).await;
    let parsed: Value = serde_json::from_str(&text).unwrap();
    let expected = json!([{"id": 7, "peerURLs": ["http://a:1"], "name": "m", "isLearner": true}]);
    assert_eq!((code, parsed), (200, expected));
}

use quorate_proto::etcdserverpb::ResponseHeader;
use quorate_proto::mvccpb::KeyValue;

use super::*;

fn kv(key: &str, value: &'static str, create_revision: i64) -> KeyValue {
    let key = format!("/_etcd/registry/t/members/{key}").into();
    KeyValue { key, value: value.into(), create_revision, ..KeyValue::default() }
}

fn found(kvs: Vec<KeyValue>) -> RangeResponse {
    let header = Some(ResponseHeader { revision: 9, ..ResponseHeader::default() });
    RangeResponse { header, kvs, ..RangeResponse::default() }
}

fn place(size: usize, kvs: Vec<KeyValue>) -> Result<Vec<String>, BootstrapError> {
    let own_key = "/_etcd/registry/t/members/a";
    super::place(own_key, size, found(kvs)).map(|found| found.members)
}

#[test]
fn members_are_those_who_came_first() {
    let full = || Err(refused("cluster is full"));
    let (own, other, third) = (kv("a", "a=u", 5), kv("b", "b=v", 3), kv("c", "c=w", 4));
    let names = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(place(2, vec![]), names(&[]));
    assert_eq!(place(2, vec![other.clone()]), names(&["b=v"]));
    assert_eq!(place(2, vec![own.clone(), other.clone()]), names(&["b=v", "a=u"]));
    assert_eq!(place(2, vec![other.clone(), third.clone()]), full());
    assert_eq!(place(2, vec![own.clone(), other.clone(), third.clone()]), full());
    assert_eq!(place(3, vec![own, other, third]), names(&["b=v", "c=w", "a=u"]));
    assert_eq!(place(1, vec![kv("x", "no member", 1)]), names(&[]));
}

#[test]
fn the_size_is_a_number_above_zero() {
    let size = |value: &'static str| parse_size(&found(vec![kv("size", value, 1)]));
    assert_eq!(size("3"), Ok(3));
    for bad in ["0", "-1", "three", ""] {
        assert_eq!(size(bad), Err(refused("size key is bad")));
    }
    assert_eq!(parse_size(&found(vec![])), Err(refused("size key not found")));
}

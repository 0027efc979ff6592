//! What messages look like: names, numbers and kinds of their fields, by their descriptors.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind as Described, MessageDescriptor};

/// A kind of message.
pub(super) struct Shape {
    /// By number.
    fields: Vec<Field>,
    /// Places in `fields`, by either name.
    names: BTreeMap<String, usize>,
}

/// A field.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) is_list: bool,
    /// Which group of fields, if any, this one is of, of which one can be set.
    pub(super) oneof: Option<String>,
    pub(super) kind: Kind,
}

/// What a field holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Text,
    Bytes,
    Enum(Vec<(i32, String)>),
    /// A message: its place among all shapes.
    Message(usize),
    /// What no call of the gateway has.
    Other,
}

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(quorate_proto::DESCRIPTORS)
        .expect("the descriptors were written when this was built")
});

/// Shapes of all messages, and their places by full name.
static SHAPES: LazyLock<(Vec<Shape>, BTreeMap<String, usize>)> = LazyLock::new(|| {
    let messages: Vec<MessageDescriptor> = pool().all_messages().collect();
    let names = messages.iter().map(|message| message.full_name().to_owned());
    let places = names.zip(0..).collect();
    (messages.iter().map(|message| Shape::new(message, &places)).collect(), places)
});

/// All descriptors.
pub(super) fn pool() -> &'static DescriptorPool {
    &POOL
}

impl Shape {
    fn new(message: &MessageDescriptor, places: &BTreeMap<String, usize>) -> Self {
        let mut fields = Vec::new();
        let mut names = BTreeMap::new();
        for described in message.fields() {
            names.insert(described.json_name().to_owned(), fields.len());
            names.insert(described.name().to_owned(), fields.len());
            fields.push(Field::new(&described, places));
        }
        Self { fields, names }
    }

    /// The shape of a message.
    pub(super) fn of(message: &MessageDescriptor) -> Option<&'static Self> {
        Self::called(message.full_name())
    }

    /// The shape of a message of this full name.
    pub(super) fn called(name: &str) -> Option<&'static Self> {
        Some(Self::at(*SHAPES.1.get(name)?))
    }

    /// The shape at a place.
    pub(super) fn at(place: usize) -> &'static Self {
        &SHAPES.0[place]
    }

    /// The field of a name.
    pub(super) fn named(&self, name: &str) -> Option<&Field> {
        self.names.get(name).map(|place| &self.fields[*place])
    }

    /// The field of a number.
    pub(super) fn numbered(&self, number: u32) -> Option<&Field> {
        let place = self.fields.binary_search_by_key(&number, |field| field.number).ok()?;
        Some(&self.fields[place])
    }
}

impl Field {
    fn new(described: &FieldDescriptor, places: &BTreeMap<String, usize>) -> Self {
        let kind = match described.kind() {
            _ if described.is_map() => Kind::Other,
            Described::Bool => Kind::Bool,
            Described::Int32 => Kind::Int32,
            Described::Int64 => Kind::Int64,
            Described::Uint32 => Kind::Uint32,
            Described::Uint64 => Kind::Uint64,
            Described::String => Kind::Text,
            Described::Bytes => Kind::Bytes,
            Described::Enum(all) => {
                Kind::Enum(all.values().map(|it| (it.number(), it.name().to_owned())).collect())
            }
            Described::Message(message) => Kind::Message(places[message.full_name()]),
            _ => Kind::Other,
        };
        Self {
            name: described.name().to_owned(),
            number: described.number(),
            is_list: described.is_list(),
            oneof: described.containing_oneof().map(|oneof| oneof.name().to_owned()),
            kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Go writes fields in the order of their declarations, we in that of their numbers.
    #[test]
    fn fields_are_declared_in_the_order_of_their_numbers() {
        for message in pool().all_messages().filter(|message| message.package_name() != "raftpb") {
            let declared = message.descriptor_proto().field.iter().map(|field| field.number());
            let is_internal = message.full_name() == "etcdserverpb.InternalRaftRequest";
            assert!(declared.is_sorted() || is_internal, "{}", message.full_name());
        }
    }

    #[test]
    fn every_field_of_the_api_is_understood() {
        let packages = ["etcdserverpb", "mvccpb", "authpb", "v3lockpb", "v3electionpb"];
        let messages = pool().all_messages().filter(|it| packages.contains(&it.package_name()));
        for message in messages.filter(|message| !message.is_map_entry()) {
            for field in &Shape::of(&message).unwrap().fields {
                assert_ne!(field.kind, Kind::Other, "{}.{}", message.full_name(), field.name);
            }
        }
    }
}

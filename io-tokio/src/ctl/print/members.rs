//! Members, and answers that list them.

use quorate_proto::etcdserverpb::{
    Member, MemberAddResponse, MemberListResponse, MemberPromoteResponse, MemberRemoveResponse,
    MemberUpdateResponse, ResponseHeader,
};

use super::{Answer, Fields, Ink, Reply};
use crate::gateway::go_text;
use crate::tool::format::Table;

/// An answer with members in it.
pub(in crate::ctl) trait Listing: Reply {
    /// All members there are now.
    fn members(&self) -> &[Member];

    /// The one that is new.
    fn added(&self) -> Option<&Member> {
        None
    }
}

macro_rules! listings {
    ($($message:ident)+) => {
        $(
            impl Listing for $message {
                fn members(&self) -> &[Member] {
                    &self.members
                }
            }
        )+
    };
}

listings!(MemberRemoveResponse MemberUpdateResponse MemberPromoteResponse MemberListResponse);

impl Listing for MemberAddResponse {
    fn members(&self) -> &[Member] {
        &self.members
    }

    fn added(&self) -> Option<&Member> {
        self.member.as_ref()
    }
}

/// Members, with a sentence if something was done to them, or as a list.
pub(in crate::ctl) struct Members<'a, M> {
    pub(in crate::ctl) reply: &'a M,
    pub(in crate::ctl) words: Option<String>,
}

impl<M: Listing> Answer for Members<'_, M> {
    fn simple(&self, _: Ink, page: &mut Vec<u8>) {
        let words = self.words.clone().unwrap_or_else(|| list(self.reply.members()).lines());
        page.extend(words.into_bytes());
    }

    fn fields(&self, ink: Ink) -> Option<Fields> {
        if self.words.is_some() {
            return None;
        }
        let mut fields = Fields::of(self.reply.header(), ink);
        for member in self.reply.members() {
            fields.id("ID", member.id, ink);
            fields.text("Name", member.name.as_bytes());
            member.peer_ur_ls.iter().for_each(|url| fields.text("PeerURL", url.as_bytes()));
            member.client_ur_ls.iter().for_each(|url| fields.text("ClientURL", url.as_bytes()));
            fields.value("IsLearner", member.is_learner);
            fields.gap();
        }
        Some(fields)
    }

    fn json(&self, ink: Ink) -> String {
        if !ink.is_hex {
            return self.reply.go_json();
        }
        let header = self.reply.header().map_or_else(|| "null".to_owned(), hex_header);
        let added = self.reply.added();
        let added = added.map(|member| format!(",\"member\":{}", hex_member(member)));
        let members: Vec<String> = self.reply.members().iter().map(hex_member).collect();
        format!(
            "{{\"header\":{header}{},\"members\":[{}]}}",
            added.unwrap_or_default(),
            members.join(",")
        )
    }

    fn table(&self) -> Option<Table> {
        self.words.is_none().then(|| list(self.reply.members()))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.reply.encode_to_vec())
    }
}

fn list(members: &[Member]) -> Table {
    let row = |member: &Member| {
        let status = if member.name.is_empty() { "unstarted" } else { "started" };
        vec![
            format!("{:x}", member.id),
            status.to_owned(),
            member.name.clone(),
            member.peer_ur_ls.join(","),
            member.client_ur_ls.join(","),
            member.is_learner.to_string(),
        ]
    };
    Table {
        header: vec!["ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"],
        rows: members.iter().map(row).collect(),
    }
}

fn hex_header(header: &ResponseHeader) -> String {
    let mut text = format!(
        "{{\"cluster_id\":\"{:x}\",\"member_id\":\"{:x}\"",
        header.cluster_id, header.member_id
    );
    if header.revision != 0 {
        text += &format!(",\"revision\":{}", header.revision);
    }
    if header.raft_term != 0 {
        text += &format!(",\"raft_term\":{}", header.raft_term);
    }
    text + "}"
}

fn hex_member(member: &Member) -> String {
    let urls = |urls: &[String]| {
        let urls: Vec<String> = urls.iter().map(|url| go_text(url)).collect();
        format!("[{}]", urls.join(","))
    };
    let mut text = format!("{{\"ID\":\"{:x}\"", member.id);
    if !member.name.is_empty() {
        text += &format!(",\"name\":{}", go_text(&member.name));
    }
    if !member.peer_ur_ls.is_empty() {
        text += &format!(",\"peerURLs\":{}", urls(&member.peer_ur_ls));
    }
    if !member.client_ur_ls.is_empty() {
        text += &format!(",\"clientURLs\":{}", urls(&member.client_ur_ls));
    }
    if member.is_learner {
        text += ",\"isLearner\":true";
    }
    text + "}"
}

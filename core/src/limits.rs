//! Bounds that no configuration moves: every queue and every step of work has one.

/// Requests waiting for their entries to be applied; more are refused.
pub const PENDING_REQUESTS_MAX: usize = 65_536;
/// Tokens of users who showed a password; beyond it the one that ends first makes way.
pub const TOKENS_MAX: usize = 4_096;
/// Changes of the group that wait at their leader; more are refused.
pub const CHANGES_WAITING_MAX: usize = 64;
/// Clients that wait for leadership to move; more are refused.
pub const TRANSFERS_WAITING_MAX: usize = 64;
/// Bytes of this member's proposals kept until they are applied, to be proposed again if their
/// leader dies. Beyond it they are proposed once, and refused while nobody leads.
pub const PENDING_BYTES_MAX: u64 = 32 << 20;
/// Reads waiting for barriers; more are refused.
pub const PENDING_READS_MAX: usize = 262_144;
/// Committed entries not yet applied at which proposals are refused.
pub const APPLY_GAP_MAX: u64 = 5_000;
/// Bytes of committed entries handed to `State` and not yet applied; raft waits above it.
pub const APPLY_BYTES_MAX: u64 = 32 << 20;
/// Bytes of entries in one append message.
pub const APPEND_BYTES_MAX: u64 = 1 << 20;
/// Append messages in flight to one member.
pub const APPENDS_IN_FLIGHT_MAX: usize = 512;
/// Proposed and uncommitted bytes at which the leader drops proposals.
pub const UNCOMMITTED_BYTES_MAX: u64 = 1 << 30;
/// Watch responses a stream may hold before its watchers turn to catching up.
pub const STREAM_FRAMES_MAX: usize = 128;
/// Bytes of a stream's frames, made and not passed on, at which its watchers turn to catching up.
pub const STREAM_BYTES_MAX: usize = 512 << 10;
/// Messages of a watch stream that wait while its frames are not taken; one more ends the stream.
pub const STREAM_MESSAGES_MAX: usize = 1_024;
/// Newest revisions the watch hub keeps in memory for watchers that wait for credit.
pub const RECENT_REVISIONS_MAX: usize = 1_000;
/// Bytes of keys and values those may hold.
pub const RECENT_BYTES_MAX: usize = 4 << 20;
/// Bytes of keys and values after which a slice of catching up takes no further revision.
pub const CATCH_UP_BYTES_MAX: usize = 256 << 10;
/// The same while others are served: what a write may have to wait for.
pub const CATCH_UP_SMALL_BYTES_MAX: usize = 32 << 10;
/// Records in a slice of catching up while others are served.
pub const CATCH_UP_SMALL_RECORDS_MAX: usize = 128;
/// Slices of history kept for other watchers that are behind by about as much.
pub const CATCH_UP_WINDOWS_MAX: usize = 8;
/// Distinct revisions in one catch-up response.
pub const CATCH_UP_REVISIONS_MAX: usize = 1_000;
/// Records looked at in one step of catching up, before the slice begun is finished.
pub const CATCH_UP_RECORDS_MAX: usize = 1_000;
/// Keys read in one step of a range answered in chunks.
pub const CHUNK_STEP_KEYS_MAX: usize = 128;
/// Bytes after which such a step reads no further key.
pub const CHUNK_STEP_BYTES_MAX: usize = 128 << 10;
/// Bytes of neighbouring keys that are put together to be remembered.
pub const REMEMBERED_BYTES_MAX: usize = 128 << 10;
/// Records whose heads share a row, and bytes of those: making a row anew is a slice of a
/// compaction.
pub const HEADS_RECORDS_MAX: usize = 1_024;
/// See there.
pub const HEADS_BYTES_MAX: usize = 64 << 10;
/// Rows of heads in one batch.
pub const HEADS_ROWS_PER_BATCH: usize = 4;
/// Transactions nested within each other; deeper ones could not be read back from the log, whose
/// messages may be 100 deep.
pub const TXN_DEPTH_MAX: usize = 48;
/// Keys visited in one slice of a compaction; while hashing, records and KiB of them. A slice is
/// what a write may have to wait for: less than a millisecond.
pub const COMPACT_KEYS_MAX: usize = 250;
/// Leases revoked for expiry in one pass of 500 ms, and revokes of them in flight at any time.
pub const REVOKES_PER_PASS_MAX: usize = 500;
/// Leases in one checkpoint entry.
pub const CHECKPOINTS_PER_ENTRY_MAX: usize = 1_000;
/// Largest TTL of a lease in seconds.
pub const LEASE_TTL_MAX: i64 = 9_000_000_000;

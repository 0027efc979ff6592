//! Who hears what: all watch streams of one member.
//!
//! ```text
//!                    on_applied: revision 8 changes "a"
//!                                   |
//!         index of synced watchers: | which watch "a"?
//!            +----------------------+-----------------+
//!            v                                        v
//!   stream 1, credit left                    stream 2, no credit left
//!   frame: watch 0, revision 8               watch 3 falls behind: next = 8
//!                                                     |  credit returns
//!                                              step:  v
//!                                  recent revisions in memory, else history
//!                                  frame: watch 3, events since 8, header = newest
//! ```
//!
//! A *synced* watcher has been shown everything and stands in the index: by key, or in a tree of
//! ranges, so that a change costs as much as the watchers it concerns, however many there are. A
//! watcher that is *behind* remembers one number, the first revision it has not been shown, and
//! catches up in slices, in turns with all others, apart from the path of new changes: who lags
//! delays nobody else. The newest revisions are kept in memory, and so are the few slices of
//! history read last: a thousand watchers that are behind by about as much cost one reading of
//! history, not a thousand. A *canceled* one fell behind a compaction and only holds its id.
//!
//! Credit: the shell holds at most [`STREAM_FRAMES_MAX`](crate::limits::STREAM_FRAMES_MAX) frames
//! of a stream and returns credit as it passes them on. Every frame costs credit, answers too. No
//! further events go into a stream either while
//! [`STREAM_BYTES_MAX`](crate::limits::STREAM_BYTES_MAX) bytes of it were not passed on: a client
//! that does not read costs that, and one slice.
//! Messages that arrive while there is no room wait, in order and in bounded number; a client that
//! goes on sending without reading loses its stream, and a last frame says so.
//!
//! Progress: a client may ask how far its stream is. It is told, once, with watch id -1, as soon
//! as every watch of the stream is synced and the revision has reached every start it asked for.
//! Until then one wish is kept (etcd forgets it and leaves the client to ask again). A canceled
//! watch that was not let go holds the answer back; a stream without watches gets none.
//!
//! Invariants
//! - A watch gets each event of its range, from its start, that its filters let pass: once, in
//!   order of revisions and of changes within them.
//! - A revision is never split over two responses, except into marked fragments.
//! - The frame that says a watch was created comes before its events, and nothing of it comes
//!   after the frame that says it was canceled.
//! - A progress response with revision r comes after all events up to r, of that watch or stream.
//! - After an image was installed nobody goes back in time and nobody misses anything: what the
//!   image does not have any more cancels the watch.
//! - Frames of a stream not yet taken are never more than its credit and one response's fragments.
//!
//! Deliberately absent: permissions (the door judges, once, when the watch is created); reading
//! the same event twice for two watchers that want its previous value; a thread or timer that
//! looks for slow watchers.
//!
//! Answers to: etcd v3.7.1 `server/storage/mvcc/watchable_store.go`,
//! `server/storage/mvcc/watcher.go`, `server/etcdserver/api/v3rpc/watch.go`

mod catch_up;
mod fan_out;
mod frame;
mod hub;
mod index;
mod interval;
mod progress;
mod recent;
mod restraint;
mod stream;
mod watcher;
mod window;

pub use frame::frame_bytes;
pub use hub::{Counts, Hub, Setup};

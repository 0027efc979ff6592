//! Where images arrive: a stream that broke off leaves its image open for a moment, so that the
//! next one goes on behind it.
//!
//! ```text
//! stream --chunks--> writing (a thread) --> complete, announced
//!    |-- ended without an end mark: given up by the sender
//!    '-- broken: the thread waits on; parked for PARKED_MAX, or until another image comes
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_core::ids::MemberId;
use quorate_proto::peer::image_chunk::Chunk;
use quorate_proto::peer::{ImageChunk, ImageHeader};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::{Status, Streaming};

use super::image::Images;
use crate::transport::capacity::CHUNKS_AHEAD_MAX;

/// How long an image waits for its next stream.
const PARKED_MAX: Duration = Duration::from_secs(30);

/// Images on their way in.
pub(super) struct Landing {
    images: Arc<dyn Images>,
    place: Mutex<Place>,
}

/// The one place for an image that is not complete.
#[derive(Default)]
enum Place {
    #[default]
    Free,
    /// A stream brings it.
    Taken(Name),
    /// Its stream broke off.
    Parked(Arrival),
}

/// Whose image, and which: by the sender's own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    from: MemberId,
    image: u64,
}

/// An image of which a part is here.
struct Arrival {
    name: Name,
    /// Chunks behind the header.
    count: u64,
    chunks: mpsc::Sender<ImageChunk>,
    writing: JoinHandle<Result<(), String>>,
}

impl Landing {
    pub(super) fn new(images: Arc<dyn Images>) -> Arc<Self> {
        Arc::new(Self { images, place: Mutex::default() })
    }

    /// How many chunks of an image are here whose stream broke off.
    pub(super) fn stand(&self, from: MemberId, header: &ImageHeader) -> Result<u64, Status> {
        let name = Name { from, image: header.image };
        match &*self.place() {
            Place::Parked(arrival) if arrival.name == name => Ok(arrival.count),
            place if place.is_taken_by(name) => {
                Err(Status::unavailable("its last stream is not known to be broken yet"))
            }
            _ => Ok(0),
        }
    }

    /// Takes an image whose header was read already, or the rest of one.
    pub(super) async fn receive(
        self: &Arc<Self>,
        from: MemberId,
        header: ImageHeader,
        mut stream: Streaming<ImageChunk>,
    ) -> Result<(), Status> {
        let mut guest = Guest { landing: self.clone(), arrival: None };
        let arrival = self.begin(from, header).await?;
        let arrival = guest.arrival.insert(arrival);
        while let Some(chunk) = stream.message().await? {
            if arrival.chunks.send(chunk).await.is_err() {
                break;
            }
            arrival.count += 1;
        }
        guest.finish().await
    }

    async fn begin(&self, from: MemberId, header: ImageHeader) -> Result<Arrival, Status> {
        let name = Name { from, image: header.image };
        // Whatever is parked here is taken up now, or will never be.
        let parked = match std::mem::replace(&mut *self.place(), Place::Taken(name)) {
            Place::Parked(arrival) => Some(arrival),
            Place::Free | Place::Taken(_) => None,
        };
        match parked {
            Some(arrival) if arrival.name == name && arrival.count == header.skipped => {
                return Ok(arrival);
            }
            Some(arrival) => arrival.give_up().await,
            None => {}
        }
        if header.skipped > 0 {
            *self.place() = Place::Free;
            return Err(Status::unavailable("what was here of the image is not here any more"));
        }
        Ok(self.open(name, header))
    }

    fn open(&self, name: Name, header: ImageHeader) -> Arrival {
        let (chunks, mut received) = mpsc::channel(CHUNKS_AHEAD_MAX);
        let images = self.images.clone();
        let writing = tokio::task::spawn_blocking(move || {
            let first = ImageChunk { chunk: Some(Chunk::Header(header)) };
            let rest = std::iter::from_fn(|| received.blocking_recv());
            images.receive(name.from, &mut std::iter::once(first).chain(rest))
        });
        Arrival { name, count: 0, chunks, writing }
    }

    /// Keeps the place for an image whose stream is gone, for a while.
    fn park(self: Arc<Self>, arrival: Arrival) {
        let (name, count) = (arrival.name, arrival.count);
        let mut place = self.place();
        // Otherwise another image has taken the place meanwhile.
        if !place.is_taken_by(name) {
            return;
        }
        *place = Place::Parked(arrival);
        drop(place);
        let is_still = move |place: &Place| match place {
            Place::Parked(it) => it.name == name && it.count == count,
            _ => false,
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            tokio::time::sleep(PARKED_MAX).await;
            let mut place = self.place();
            if is_still(&place) {
                *place = Place::Free;
            }
        });
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn is_taken_by(&self, name: Name) -> bool {
        matches!(self, Self::Taken(taken) if *taken == name)
    }
}

impl Arrival {
    /// The image will not be completed.
    async fn give_up(self) {
        drop(self.chunks);
        // Its own end is told to nobody: it was cut off.
        let _ = self.writing.await;
    }
}

/// A stream's hold on the image it brings. It lets go when its call is abandoned, as calls are
/// whose connection breaks.
struct Guest {
    landing: Arc<Landing>,
    arrival: Option<Arrival>,
}

impl Guest {
    /// Nothing more will come.
    async fn finish(mut self) -> Result<(), Status> {
        let Some(Arrival { name, chunks, writing, .. }) = self.arrival.take() else {
            return Ok(());
        };
        drop(chunks);
        let written = writing.await;
        let mut place = self.landing.place();
        if place.is_taken_by(name) {
            *place = Place::Free;
        }
        match written {
            Ok(written) => written.map_err(Status::aborted),
            Err(_) => Err(Status::internal("writing the image ended early")),
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(arrival) = self.arrival.take() {
            self.landing.clone().park(arrival);
        }
    }
}

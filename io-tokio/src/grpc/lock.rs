//! `v3lockpb.Lock`.

use quorate_core::recipe;
use quorate_proto::v3lockpb as pb;
use quorate_proto::v3lockpb::lock_server::Lock;
use tonic::{Request, Response, Status};

use super::Front;
use super::recipes::Caller;

#[tonic::async_trait]
impl Lock for Front {
    async fn lock(
        &self,
        request: Request<pb::LockRequest>,
    ) -> Result<Response<pb::LockResponse>, Status> {
        let (caller, request) = Caller::of(self, request);
        caller.see_through(recipe::Lock::begin(request)).await
    }

    async fn unlock(
        &self,
        request: Request<pb::UnlockRequest>,
    ) -> Result<Response<pb::UnlockResponse>, Status> {
        let (caller, request) = Caller::of(self, request);
        caller.run(recipe::unlock(request)).await
    }
}

//! `grpc.health.v1.Health`: the server as a whole is its only service, and it serves.

use futures_util::{StreamExt, stream};
use quorate_proto::health::health_check_response::ServingStatus;
use quorate_proto::health::health_server::Health;
use quorate_proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use tonic::{Request, Response, Status};

use super::{Answers, Front};

const SERVING: HealthCheckResponse = HealthCheckResponse { status: ServingStatus::Serving as i32 };

#[tonic::async_trait]
impl Health for Front {
    type WatchStream = Answers<HealthCheckResponse>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if request.get_ref().service.is_empty() {
            return Ok(Response::new(SERVING));
        }
        Err(Status::not_found("unknown service"))
    }

    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        let statuses = [(String::new(), SERVING)].into();
        Ok(Response::new(HealthListResponse { statuses }))
    }

    /// The state never changes: one message, then silence for as long as the client listens.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let state = match request.get_ref().service.as_str() {
            "" => SERVING,
            _ => HealthCheckResponse { status: ServingStatus::ServiceUnknown as i32 },
        };
        Ok(Response::new(Box::pin(stream::iter([Ok(state)]).chain(stream::pending()))))
    }
}

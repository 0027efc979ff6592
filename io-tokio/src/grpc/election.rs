//! `v3electionpb.Election`.

use std::mem;

use futures_util::stream;
use quorate_core::recipe::{self, Answer, Failure, Recipe, Step};
use quorate_proto::v3electionpb as pb;
use quorate_proto::v3electionpb::election_server::Election;
use tonic::{Request, Response, Status};

use super::recipes::Caller;
use super::status::failure_status;
use super::{Answers, Front};
use crate::metrics::Calls;

#[tonic::async_trait]
impl Election for Front {
    type ObserveStream = Answers<pb::LeaderResponse>;

    async fn campaign(
        &self,
        request: Request<pb::CampaignRequest>,
    ) -> Result<Response<pb::CampaignResponse>, Status> {
        let (caller, request) = Caller::of(self, request);
        caller.see_through(recipe::Campaign::begin(request)).await
    }

    async fn proclaim(
        &self,
        request: Request<pb::ProclaimRequest>,
    ) -> Result<Response<pb::ProclaimResponse>, Status> {
        let (caller, request) = Caller::of(self, request);
        caller.run(recipe::Proclaim::begin(request)).await
    }

    async fn leader(
        &self,
        request: Request<pb::LeaderRequest>,
    ) -> Result<Response<pb::LeaderResponse>, Status> {
        let (caller, request) = Caller::of(self, request);
        caller.run(recipe::leader(&request)).await
    }

    async fn resign(
        &self,
        request: Request<pb::ResignRequest>,
    ) -> Result<Response<pb::ResignResponse>, Status> {
        let (caller, request) = Caller::of(self, request);
        caller.run(recipe::resign(request)).await
    }

    async fn observe(
        &self,
        request: Request<pb::LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let front = self.clone();
        let (caller, request) = Caller::of(self, request);
        let (recipe, step) = recipe::Observe::begin(&request);
        let observer = Observer { front, caller, recipe, step };
        Ok(Response::new(Box::pin(stream::try_unfold(observer, |mut observer| async {
            let news = observer.next().await?;
            Ok(Some((news, observer)))
        }))))
    }
}

/// One stream of leaders.
struct Observer {
    front: Front,
    caller: Caller,
    recipe: recipe::Observe,
    step: Step<pb::LeaderResponse>,
}

impl Observer {
    /// The next thing to tell. What time does not heal ends the stream.
    async fn next(&mut self) -> Result<pb::LeaderResponse, Status> {
        loop {
            let answer = match mem::replace(&mut self.step, Step::Listen) {
                Step::Yield(news) => {
                    self.step = Recipe::<Status>::handle(&mut self.recipe, Answer::Taken);
                    self.count();
                    return Ok(news);
                }
                step => self.caller.take(step).await,
            };
            if let Answer::Refused(why) = answer {
                return Err(failure_status(Failure::Refused(why)));
            }
            self.step = self.recipe.handle(answer);
        }
    }

    fn count(&self) {
        if let Some(method) = Calls::find("/v3electionpb.Election/Observe") {
            self.front.metrics.calls.sent(method);
        }
    }
}

//! `v3lockpb.Lock` and `v3electionpb.Election`: answered as calls that are not served.

use quorate_proto::v3electionpb::election_server::Election;
use quorate_proto::v3lockpb::lock_server::Lock;
use quorate_proto::{v3electionpb as election, v3lockpb as lock};

use super::{Answers, Front, service};

service! {
    impl Lock for Front {
        absent lock(lock::LockRequest) -> lock::LockResponse;
        absent unlock(lock::UnlockRequest) -> lock::UnlockResponse;
    }
}

service! {
    impl Election for Front {
        { type ObserveStream = Answers<election::LeaderResponse>; }
        absent campaign(election::CampaignRequest) -> election::CampaignResponse;
        absent proclaim(election::ProclaimRequest) -> election::ProclaimResponse;
        absent leader(election::LeaderRequest) -> election::LeaderResponse;
        absent observe(election::LeaderRequest) -> Self::ObserveStream;
        absent resign(election::ResignRequest) -> election::ResignResponse;
    }
}

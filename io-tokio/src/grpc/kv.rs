//! `etcdserverpb.KV`.

use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::kv_server::Kv;
use tonic::{Request, Response, Status};

use super::{Answers, Front, ask, reads, service};

service! {
    impl Kv for Front {
        {
            type RangeStreamStream = Answers<pb::RangeStreamResponse>;

            async fn range(
                &self,
                request: Request<pb::RangeRequest>,
            ) -> Result<Response<pb::RangeResponse>, Status> {
                let request = request.into_inner();
                reads::check_range(&request)?;
                let view = self.view(request.serializable).await?;
                self.metrics.ranges.add(1);
                reads::range(&view, &request).map(Response::new)
            }

            async fn put(
                &self,
                request: Request<pb::PutRequest>,
            ) -> Result<Response<pb::PutResponse>, Status> {
                let answer = ask!(self, Put, request.into_inner())?;
                self.metrics.puts.add(1);
                Ok(answer)
            }

            async fn delete_range(
                &self,
                request: Request<pb::DeleteRangeRequest>,
            ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
                let answer = ask!(self, DeleteRange, request.into_inner())?;
                self.metrics.deletes.add(1);
                Ok(answer)
            }

            async fn txn(
                &self,
                request: Request<pb::TxnRequest>,
            ) -> Result<Response<pb::TxnResponse>, Status> {
                let request = request.into_inner();
                let answer = if reads::is_read_only(&request) {
                    reads::check_txn(&request, self.limits.txn_ops_max)?;
                    let view = self.view(reads::is_serializable(&request)).await?;
                    reads::read_txn(&view, &request).map(Response::new)?
                } else {
                    ask!(self, Txn, request)?
                };
                self.metrics.txns.add(1);
                Ok(answer)
            }

            async fn compact(
                &self,
                request: Request<pb::CompactionRequest>,
            ) -> Result<Response<pb::CompactionResponse>, Status> {
                ask!(self, Compact, request.into_inner())
            }
        }
        absent range_stream(pb::RangeRequest) -> Self::RangeStreamStream;
    }
}

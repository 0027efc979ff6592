//! `etcdserverpb.Auth`: there are no users yet, and that is what it says.

use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::auth_server::Auth;
use tonic::{Request, Response, Status};

use super::{Front, service};

/// The revision of an auth store that nobody ever changed.
const UNTOUCHED_REVISION: u64 = 1;

service! {
    impl Auth for Front {
        {
            async fn auth_status(
                &self,
                _: Request<pb::AuthStatusRequest>,
            ) -> Result<Response<pb::AuthStatusResponse>, Status> {
                Ok(Response::new(pb::AuthStatusResponse {
                    header: Some(self.header()),
                    enabled: false,
                    auth_revision: UNTOUCHED_REVISION,
                }))
            }
        }
        absent auth_enable(pb::AuthEnableRequest) -> pb::AuthEnableResponse;
        absent auth_disable(pb::AuthDisableRequest) -> pb::AuthDisableResponse;
        absent authenticate(pb::AuthenticateRequest) -> pb::AuthenticateResponse;
        absent user_add(pb::AuthUserAddRequest) -> pb::AuthUserAddResponse;
        absent user_get(pb::AuthUserGetRequest) -> pb::AuthUserGetResponse;
        absent user_list(pb::AuthUserListRequest) -> pb::AuthUserListResponse;
        absent user_delete(pb::AuthUserDeleteRequest) -> pb::AuthUserDeleteResponse;
        absent user_change_password(pb::AuthUserChangePasswordRequest)
            -> pb::AuthUserChangePasswordResponse;
        absent user_grant_role(pb::AuthUserGrantRoleRequest) -> pb::AuthUserGrantRoleResponse;
        absent user_revoke_role(pb::AuthUserRevokeRoleRequest) -> pb::AuthUserRevokeRoleResponse;
        absent role_add(pb::AuthRoleAddRequest) -> pb::AuthRoleAddResponse;
        absent role_get(pb::AuthRoleGetRequest) -> pb::AuthRoleGetResponse;
        absent role_list(pb::AuthRoleListRequest) -> pb::AuthRoleListResponse;
        absent role_delete(pb::AuthRoleDeleteRequest) -> pb::AuthRoleDeleteResponse;
        absent role_grant_permission(pb::AuthRoleGrantPermissionRequest)
            -> pb::AuthRoleGrantPermissionResponse;
        absent role_revoke_permission(pb::AuthRoleRevokePermissionRequest)
            -> pb::AuthRoleRevokePermissionResponse;
    }
}

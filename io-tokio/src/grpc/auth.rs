//! `etcdserverpb.Auth`: changes go through the log, questions are answered from a view.
//!
//! Passwords end here: what goes on has a hash instead.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/api/v3rpc/auth.go`, `server/etcdserver/v3_server.go`

use quorate_core::View;
use quorate_core::auth::{Book, Identity};
use quorate_core::error::Refusal;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::auth_server::Auth;
use tonic::{Request, Response, Status};

use super::status::status;
use super::{Front, Shown, ask, reads};
use crate::tokens::Tokens;

/// Times a password is compared anew because users were changed meanwhile.
const COMPARISONS_MAX: usize = 8;

/// Hands a change in; its answer is a header.
macro_rules! change {
    ($front:expr, $field:ident, $response:ident, $request:expr) => {{
        let shown = Shown::of(&$request);
        let change = pb::InternalRaftRequest {
            $field: Some($request.into_inner().into()),
            ..pb::InternalRaftRequest::default()
        };
        let header = $front.change(change, &shown).await?.header;
        Ok(Response::new(pb::$response { header }))
    }};
}

#[tonic::async_trait]
impl Auth for Front {
    async fn auth_enable(
        &self,
        request: Request<pb::AuthEnableRequest>,
    ) -> Result<Response<pb::AuthEnableResponse>, Status> {
        change!(self, auth_enable, AuthEnableResponse, request)
    }

    async fn auth_disable(
        &self,
        request: Request<pb::AuthDisableRequest>,
    ) -> Result<Response<pb::AuthDisableResponse>, Status> {
        change!(self, auth_disable, AuthDisableResponse, request)
    }

    async fn auth_status(
        &self,
        request: Request<pb::AuthStatusRequest>,
    ) -> Result<Response<pb::AuthStatusResponse>, Status> {
        let (view, header) = self.see(&request, |_, _| Ok(())).await?;
        let status = view.facts.auth.book.status();
        Ok(Response::new(pb::AuthStatusResponse { header, ..status }))
    }

    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Result<Response<pb::AuthenticateResponse>, Status> {
        let pb::AuthenticateRequest { name, password } = request.into_inner();
        for _ in 0..COMPARISONS_MAX {
            let book = self.view(false).await?.facts.auth.book.clone();
            let hash = book.password_hash(&name).map_err(status)?;
            if !self.passwords.is_right(password.clone(), hash).await? {
                return Err(status(Refusal::AuthFailed));
            }
            let issued = self.issue(&name, book.revision()).await?;
            // The password may have been changed while it was compared.
            if self.core.look(|view| view.facts.auth.book.revision()) == book.revision() {
                return Ok(Response::new(issued));
            }
        }
        Err(status(Refusal::AuthOldRevision))
    }

    async fn user_add(
        &self,
        mut request: Request<pb::AuthUserAddRequest>,
    ) -> Result<Response<pb::AuthUserAddResponse>, Status> {
        let add = request.get_mut();
        let has_password = add.options.as_ref().is_none_or(|options| !options.no_password);
        let password = std::mem::take(&mut add.password);
        add.hashed_password = match has_password {
            true => self.passwords.hash(password).await?,
            false => String::new(),
        };
        change!(self, auth_user_add, AuthUserAddResponse, request)
    }

    async fn user_get(
        &self,
        request: Request<pb::AuthUserGetRequest>,
    ) -> Result<Response<pb::AuthUserGetResponse>, Status> {
        let name = &request.get_ref().name;
        let check = |book: &Book, who: &Identity| book.check_user_seen(who, name);
        let (view, header) = self.see(&request, check).await?;
        let roles = view.facts.auth.book.roles_of(name).map_err(status)?;
        Ok(Response::new(pb::AuthUserGetResponse { header, roles }))
    }

    async fn user_list(
        &self,
        request: Request<pb::AuthUserListRequest>,
    ) -> Result<Response<pb::AuthUserListResponse>, Status> {
        let (view, header) = self.see(&request, Book::check_root).await?;
        let users = view.facts.auth.book.user_names();
        Ok(Response::new(pb::AuthUserListResponse { header, users }))
    }

    async fn user_delete(
        &self,
        request: Request<pb::AuthUserDeleteRequest>,
    ) -> Result<Response<pb::AuthUserDeleteResponse>, Status> {
        change!(self, auth_user_delete, AuthUserDeleteResponse, request)
    }

    async fn user_change_password(
        &self,
        mut request: Request<pb::AuthUserChangePasswordRequest>,
    ) -> Result<Response<pb::AuthUserChangePasswordResponse>, Status> {
        let change = request.get_mut();
        let password = std::mem::take(&mut change.password);
        // Without one, whatever hash came with the request counts, as in etcd.
        if !password.is_empty() {
            change.hashed_password = self.passwords.hash(password).await?;
        }
        change!(self, auth_user_change_password, AuthUserChangePasswordResponse, request)
    }

    async fn user_grant_role(
        &self,
        request: Request<pb::AuthUserGrantRoleRequest>,
    ) -> Result<Response<pb::AuthUserGrantRoleResponse>, Status> {
        change!(self, auth_user_grant_role, AuthUserGrantRoleResponse, request)
    }

    async fn user_revoke_role(
        &self,
        request: Request<pb::AuthUserRevokeRoleRequest>,
    ) -> Result<Response<pb::AuthUserRevokeRoleResponse>, Status> {
        change!(self, auth_user_revoke_role, AuthUserRevokeRoleResponse, request)
    }

    async fn role_add(
        &self,
        request: Request<pb::AuthRoleAddRequest>,
    ) -> Result<Response<pb::AuthRoleAddResponse>, Status> {
        change!(self, auth_role_add, AuthRoleAddResponse, request)
    }

    async fn role_get(
        &self,
        request: Request<pb::AuthRoleGetRequest>,
    ) -> Result<Response<pb::AuthRoleGetResponse>, Status> {
        let name = &request.get_ref().role;
        let check = |book: &Book, who: &Identity| book.check_role_seen(who, name);
        let (view, header) = self.see(&request, check).await?;
        let perm = view.facts.auth.book.permissions_of(name).map_err(status)?;
        Ok(Response::new(pb::AuthRoleGetResponse { header, perm }))
    }

    async fn role_list(
        &self,
        request: Request<pb::AuthRoleListRequest>,
    ) -> Result<Response<pb::AuthRoleListResponse>, Status> {
        let (view, header) = self.see(&request, Book::check_root).await?;
        let roles = view.facts.auth.book.role_names();
        Ok(Response::new(pb::AuthRoleListResponse { header, roles }))
    }

    async fn role_delete(
        &self,
        request: Request<pb::AuthRoleDeleteRequest>,
    ) -> Result<Response<pb::AuthRoleDeleteResponse>, Status> {
        change!(self, auth_role_delete, AuthRoleDeleteResponse, request)
    }

    async fn role_grant_permission(
        &self,
        request: Request<pb::AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<pb::AuthRoleGrantPermissionResponse>, Status> {
        change!(self, auth_role_grant_permission, AuthRoleGrantPermissionResponse, request)
    }

    async fn role_revoke_permission(
        &self,
        request: Request<pb::AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<pb::AuthRoleRevokePermissionResponse>, Status> {
        change!(self, auth_role_revoke_permission, AuthRoleRevokePermissionResponse, request)
    }
}

impl Front {
    async fn change(
        &self,
        change: pb::InternalRaftRequest,
        shown: &Shown,
    ) -> Result<pb::AuthenticateResponse, Status> {
        ask!(self, Auth, Box::new(change), shown).map(Response::into_inner)
    }

    /// A token for a user who has shown the right password.
    async fn issue(&self, user: &str, revision: u64) -> Result<pb::AuthenticateResponse, Status> {
        self.tokens.check_issuing().map_err(status)?;
        let (name, simple_token) = (user.to_owned(), self.tokens.prefix());
        let ask = pb::InternalAuthenticateRequest { name, simple_token, ..Default::default() };
        let envelope = pb::InternalRaftRequest {
            authenticate: Some(ask.into()),
            ..pb::InternalRaftRequest::default()
        };
        let mut issued = self.change(envelope, &Shown::NOTHING).await?;
        if let Tokens::Signed(signed) = &self.tokens {
            issued.token = signed.sign(user, revision).map_err(status)?;
        }
        Ok(issued)
    }

    /// A view as of now, if the caller may see in its book what is asked for; and its header.
    async fn see<T>(
        &self,
        request: &Request<T>,
        check: impl FnOnce(&Book, &Identity) -> Result<(), Refusal>,
    ) -> Result<(View, Option<pb::ResponseHeader>), Status> {
        let view = self.admit(false, request, check).await?;
        let header = Some(view.header(reads::revision(&view)));
        Ok((view, header))
    }
}

//! Answers and refusals as HTTP.

use std::convert::Infallible;
use std::future::Future;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::{
    CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Response, StatusCode};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use serde_json::Value;
use tonic::body::Body;
use tonic::{Code, Status};

use super::call::Answers;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A call's answer: one message, or a line for each until the client is gone.
pub(super) fn answer(
    mut answers: Answers,
    gone: impl Future<Output = ()> + Send + 'static,
) -> Result<Response<Body>, Status> {
    let head = marked(&answers.head);
    let body = if answers.is_stream {
        let frame = |line| Ok::<_, Infallible>(Frame::data(line));
        Body::new(StreamBody::new(answers.into_lines().take_until(gone).map(frame)))
    } else {
        let held = answers.held.take();
        let body = Body::new(Full::new(answers.into_message()?));
        match held {
            Some(held) => held.send(body),
            None => body,
        }
    };
    let mut answer = Response::new(body);
    *answer.headers_mut() = head;
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    Ok(answer)
}

/// The services' headers, marked as theirs.
fn marked(headers: &HeaderMap) -> HeaderMap {
    let mark = |(name, value): (&HeaderName, &HeaderValue)| {
        let name = format!("grpc-metadata-{name}");
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value.clone()))
    };
    headers.iter().filter_map(mark).collect()
}

/// A call that did not get anywhere.
pub(crate) fn refusal(status: &Status) -> Response<Body> {
    let mut answer = Response::new(Body::new(Full::new(error(status))));
    *answer.status_mut() = http_code(status.code());
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    if status.code() == Code::Unauthenticated
        && let Ok(words) = HeaderValue::from_str(status.message())
    {
        answer.headers_mut().insert(WWW_AUTHENTICATE, words);
    }
    answer
}

/// To a client whose certificate names it where only tokens do.
pub(super) fn misnamed() -> Response<Body> {
    let words = "CommonName of client sending a request against gateway will be ignored and not \
                 used as expected\n";
    let mut answer = Response::new(Body::new(Full::new(Bytes::from_static(words.as_bytes()))));
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// An error by itself.
pub(super) fn error(status: &Status) -> Bytes {
    object(status).into()
}

/// An error that ends a stream.
pub(super) fn error_line(status: &Status) -> Bytes {
    format!("{{\"error\":{}}}\n", object(status)).into()
}

fn object(status: &Status) -> String {
    let code = i32::from(status.code());
    match status.message() {
        "" => format!(r#"{{"code":{code}}}"#),
        text => format!(r#"{{"code":{code},"message":{}}}"#, Value::from(text)),
    }
}

fn http_code(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        // It has no name but nginx's.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_status_and_every_word_its_escape() {
        let codes = (1..=16).map(|code| http_code(Code::from_i32(code)).as_u16());
        let expected =
            [499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];
        assert!(codes.eq(expected));
        let status = Status::internal("\"a\\\n\u{1}<\u{e9}");
        assert_eq!(error(&status), r#"{"code":13,"message":"\"a\\\n\u0001<é"}"#);
        assert_eq!(error(&Status::unknown("")), r#"{"code":2}"#);
        let line = error_line(&Status::unavailable("etcdserver: no leader"));
        assert_eq!(line, "{\"error\":{\"code\":14,\"message\":\"etcdserver: no leader\"}}\n");
        let refused = refusal(&Status::unauthenticated("etcdserver: invalid auth token"));
        assert_eq!(refused.headers()[WWW_AUTHENTICATE], "etcdserver: invalid auth token");
    }
}

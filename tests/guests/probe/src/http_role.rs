//! The probe as a plain `wasi:http` handler.

use crate::exports::wasi::http::incoming_handler::Guest;
use crate::wasi::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use crate::{Answer, Ask, Probe};

impl<T: Probe> Guest for T {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = support::split_target(&target);
        let ask = Ask {
            path: path.strip_prefix("/http").unwrap_or(path).to_owned(),
            query: query.to_owned(),
            request_id: None,
        };
        let answer = T::answer(&ask).unwrap_or_else(|text| Answer {
            status: 502,
            body: text,
        });

        let response = OutgoingResponse::new(Fields::new());
        response
            .set_status_code(answer.status)
            .expect("a status that HTTP knows");
        let body = response.body().expect("the first call for the body");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the first call for the stream");
        // At most 4096 bytes may be given at a time. A client that has gone away is not our business.
        for chunk in answer.body.as_bytes().chunks(4096) {
            if stream.blocking_write_and_flush(chunk).is_err() {
                return;
            }
        }
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}

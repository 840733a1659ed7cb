//! Every address there is, as data: the router and `openapi.json` are both made of this table, so they cannot differ.

use super::super::answers::{Code, Problem};
use super::call::Call;
use super::{Node, health, live, openapi, stores, tap, web_page};
use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, guard};
use futures_util::future::LocalBoxFuture;
use std::sync::Arc;

/// What a handler answers.
pub(super) type Answered = Result<HttpResponse, Problem>;
type Handler = fn(Arc<Node>, Call) -> LocalBoxFuture<'static, Answered>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Post,
}

/// What a caller must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing, ever.
    Open,
    /// The token, where others than this machine can reach us.
    Read,
    /// The token, where one is set.
    Change,
    /// The token is what it brings.
    SignIn,
}

/// What kind of text an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    Json,
    /// One JSON object a line, as they come.
    JsonLines,
    Prometheus,
    Html,
    Css,
    Script,
}

impl Answers {
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonLines => "application/x-ndjson",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
            Self::Css => "text/css; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
        }
    }
}

/// A field of the query or the body.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    pub name: &'static str,
    pub says: &'static str,
}

/// One address and method.
pub struct Route {
    pub verb: Verb,
    /// `{name}` is one part of the path, `{name:.+}` may be several.
    pub path: &'static str,
    pub access: Access,
    pub answers: Answers,
    pub says: &'static str,
    pub params: &'static [Param],
    handler: Handler,
}

const fn get(path: &'static str, says: &'static str, params: &'static [Param], handler: Handler) -> Route {
    Route { verb: Verb::Get, path, access: Access::Read, answers: Answers::Json, says, params, handler }
}
const fn post(path: &'static str, says: &'static str, params: &'static [Param], handler: Handler) -> Route {
    Route { verb: Verb::Post, path, access: Access::Change, answers: Answers::Json, says, params, handler }
}

impl Route {
    const fn open(self) -> Self {
        Self { access: Access::Open, ..self }
    }
    const fn sign_in(self) -> Self {
        Self { access: Access::SignIn, ..self }
    }
    const fn text(self, answers: Answers) -> Self {
        Self { answers, ..self }
    }
}

/// An answer that waits for nobody.
fn now(answered: Answered) -> LocalBoxFuture<'static, Answered> {
    Box::pin(std::future::ready(answered))
}

const fn field(name: &'static str, says: &'static str) -> Param {
    Param { name, says }
}

const MAX: Param = field("max", "at most so many entries, 100 unless told, 1000 at most");
const LINE: Param = field("line", "only this line's");
const STATE: Param = field("state", "waiting, retry, active, parked, spilled or buried");
const ROW: Param = field("row", "only of this row key");
const DRY: Param = field("dry", "true: count only");

/// The table. Of two patterns that both fit an address, the first one counts.
pub const ROUTES: &[Route] = &[
    get("/livez", "Whether the root beats; no dependency in it", &[], |n, _| Box::pin(health::livez(n))).open(),
    get("/readyz", "Whether sources are read or idle, store and queue answer, and nothing drains", &[], |n, _| {
        Box::pin(health::readyz(n))
    }),
    get("/health", "Actors and dependencies, with age and cause", &[], |n, _| Box::pin(health::health(n))),
    get("/metrics", "Prometheus text", &[], |n, _| now(health::metrics(n))).text(Answers::Prometheus),
    get("/openapi.json", "This list", &[], |_, _| now(openapi::answer())),
    get(
        "/",
        "The page",
        &[field("kind", "inspect a row of this kind"), field("key", "by this row key, or by its one key column")],
        |n, c| Box::pin(web_page::page(n, c)),
    )
    .text(Answers::Html),
    get("/page/live", "The moving part of the page", &[], |n, c| Box::pin(web_page::live(n, c))).text(Answers::Html),
    get("/page/widerow.css", "The page's style", &[], |_, _| now(web_page::style())).text(Answers::Css),
    get("/page/widerow.js", "The page's script", &[], |_, _| now(web_page::script())).text(Answers::Script),
    get("/login", "The form that takes the token", &[], |n, _| now(web_page::login_form(n))).open().text(Answers::Html),
    post("/login", "Signs a browser in; answers with a cookie", &[field("token", "the admin token")], |n, c| {
        now(web_page::login(n, c))
    })
    .sign_in()
    .text(Answers::Html),
    get(
        "/api/v1/actors",
        "Actors one by one, entities as counts, exits; with row, one entity",
        &[field("kind", "only actors of this kind"), field("row", "KIND/KEY: the entity of this row")],
        |n, c| Box::pin(live::actors(n, c)),
    ),
    post("/api/v1/actors/{id:.+}:restart", "Restarts an actor", &[], |n, c| Box::pin(live::restart(n, c))),
    get("/api/v1/partitions", "Partitions with position, lag, and why one stands", &[], |n, _| Box::pin(live::partitions(n))),
    post("/api/v1/partitions/{topic}/{partition}:pause", "Stops reading a partition", &[], |n, c| Box::pin(live::pause(n, c))),
    post("/api/v1/partitions/{topic}/{partition}:resume", "Reads it again", &[], |n, c| Box::pin(live::resume(n, c))),
    get("/api/v1/epochs", "Topics as remembered and as seen (E3)", &[field("topic", "only this one")], |n, c| {
        Box::pin(stores::epochs(n, c))
    }),
    post("/api/v1/epochs/{topic}:bump", "Raises a topic's epoch by compare-and-set (E4)", &[DRY], |n, c| {
        Box::pin(live::bump_epoch(n, c))
    }),
    get("/api/v1/totals", "What was done since the start, and per second", &[], |n, _| now(live::totals(n))),
    post("/api/v1/rows/{kind}:purge", "Removes dead cells older than the horizon; answers a run", &[DRY], |n, c| {
        now(live::purge(n, c))
    }),
    get(
        "/api/v1/rows/{kind}:key",
        "The row key that key columns make",
        &[field("key", "column=value; once for each key column")],
        |n, c| now(stores::row_key(n, c)),
    ),
    get("/api/v1/rows/{kind}", "Row keys in order", &[field("from", "begin at this key"), MAX], |n, c| {
        Box::pin(stores::row_keys(n, c))
    }),
    get("/api/v1/rows/{kind}/{key}/why", "A row's life across all systems", &[], |n, c| Box::pin(stores::why(n, c))),
    get("/api/v1/rows/{kind}/{key}", "Cells with value, stamp, alive; the version", &[], |n, c| Box::pin(stores::row(n, c))),
    get("/api/v1/lines", "Lines with their counts", &[], |n, _| Box::pin(stores::lines(n))),
    post(
        "/api/v1/lines/{line}:rebuild",
        "Offers jobs for existing rows; answers a run",
        &[field("from", "first row key"), field("to", "row key to stop before"), field("rate", "rows per second at most"), DRY],
        |n, c| now(live::rebuild(n, c)),
    ),
    post("/api/v1/lines/{line}:skip-equal", "Switches skipping of equal documents", &[field("on", "true or false")], |n, c| {
        now(live::skip_equal(n, c))
    }),
    get("/api/v1/lanes", "Lanes with counts and oldest age", &[LINE], |n, c| Box::pin(stores::lanes(n, c))),
    get("/api/v1/jobs", "Jobs", &[LINE, STATE, ROW, MAX], |n, c| Box::pin(stores::jobs(n, c))),
    post("/api/v1/jobs:release", "Puts parked (or, with state buried, dead) jobs back", &[LINE, STATE, ROW], |n, c| {
        Box::pin(live::release(n, c))
    }),
    get("/api/v1/documents/{line}", "Documents in id order", &[field("after", "begin after this id"), MAX], |n, c| {
        Box::pin(stores::documents(n, c))
    }),
    get("/api/v1/documents/{line}/{id:.+}", "One document", &[], |n, c| Box::pin(stores::document(n, c))),
    get("/api/v1/dead-letters", "Records that could not be used", &[field("after", "begin after this id"), MAX], |n, c| {
        Box::pin(stores::dead_letters(n, c))
    }),
    post("/api/v1/dead-letters/{id:.+}:replay", "Sends one through the node again; it goes once it passes", &[], |n, c| {
        Box::pin(live::replay(n, c))
    }),
    get("/api/v1/dead-letters/{id:.+}", "One with its bytes", &[], |n, c| Box::pin(stores::dead_letter(n, c))),
    get("/api/v1/runs", "Rebuilds and purges", &[], |n, _| Box::pin(live::runs(n))),
    post("/api/v1/runs/{id}:pause", "Lets a run rest", &[], |n, c| now(live::pause_run(n, c))),
    post("/api/v1/runs/{id}:resume", "Lets it go on", &[], |n, c| now(live::resume_run(n, c))),
    post("/api/v1/runs/{id}:cancel", "Ends it; a rebuild asked for again goes on there", &[], |n, c| now(live::cancel_run(n, c))),
    get("/api/v1/runs/{id}", "One run", &[], |n, c| now(live::run(n, c))),
    get(
        "/api/v1/tap",
        "Events as they happen, masked, until the count, the bytes or the time is reached",
        &[
            field("stage", "source, change, row, job or document; may be given again, all of them unless told"),
            field("key", "only rows whose key holds this text"),
            field("max", "events at most, 100 unless told, 10000 at most"),
            field("bytes", "bytes at most, 1 MiB unless told, 16 MiB at most"),
            field("seconds", "seconds at most, 60 unless told, 600 at most"),
        ],
        |n, c| now(tap::stream(&n, &c)),
    )
    .text(Answers::JsonLines),
    get("/api/v1/config", "The effective configuration, secrets starred, with origins", &[], |n, _| now(stores::config(n))),
];

/// Puts the whole table into a router.
pub(super) fn register(config: &mut ServiceConfig, node: &Arc<Node>) {
    let mut paths: Vec<&'static str> = Vec::new();
    for route in ROUTES {
        if !paths.contains(&route.path) {
            paths.push(route.path);
        }
    }
    for path in paths {
        let mut resource = web::resource(path);
        for route in ROUTES.iter().filter(|r| r.path == path) {
            let its = Arc::clone(node);
            let handle = move |request: HttpRequest, payload: Payload| serve(Arc::clone(&its), route, request, payload);
            resource = resource.route(match route.verb {
                Verb::Get => web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(handle),
                Verb::Post => web::post().to(handle),
            });
        }
        let its = Arc::clone(node);
        let other = move |request: HttpRequest| std::future::ready(wrong_method(&its, path, &request));
        config.service(resource.default_service(web::to(other)));
    }
    let its = Arc::clone(node);
    let nothing = move |request: HttpRequest| std::future::ready(no_route(&its, &request));
    config.default_service(web::to(nothing));
}

async fn serve(node: Arc<Node>, route: &'static Route, request: HttpRequest, payload: Payload) -> HttpResponse {
    let wants_page = route.answers == Answers::Html;
    let answered = async {
        node.guard.admit(&request, route.access)?;
        let mut call = Call::read(route, &request, payload).await?;
        call.may_change = node.guard.may_change(&request);
        (route.handler)(Arc::clone(&node), call).await
    };
    match answered.await {
        Ok(response) => guarded(response),
        Err(problem) if wants_page && problem.is(Code::Unauthorized) => guarded(web_page::refused(&problem)),
        Err(problem) => failed(&problem),
    }
}

fn wrong_method(node: &Node, path: &str, request: &HttpRequest) -> HttpResponse {
    if let Err(problem) = node.guard.admit(request, Access::Read) {
        return failed(&problem);
    }
    let verbs = ROUTES.iter().filter(|r| r.path == path).map(|r| if r.verb == Verb::Get { "GET, HEAD" } else { "POST" });
    let allowed = verbs.collect::<Vec<_>>().join(", ");
    let what = format!("{} takes no {}", request.path(), request.method());
    let mut response = failed(&Problem::new(Code::MethodNotAllowed, what).help(format!("it takes {allowed}")));
    if let Ok(value) = header::HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

fn no_route(node: &Node, request: &HttpRequest) -> HttpResponse {
    let problem = node.guard.admit(request, Access::Read).err().unwrap_or_else(|| {
        let what = format!("there is nothing at {}", request.path());
        Problem::new(Code::NoSuchRoute, what).help("/openapi.json lists every address")
    });
    failed(&problem)
}

/// A problem on the wire (RFC 9457).
fn failed(problem: &Problem) -> HttpResponse {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response.content_type("application/problem+json");
    if problem.is(Code::Unauthorized) {
        response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
    }
    // A problem is plain text in named fields: writing it cannot fail.
    guarded(response.body(serde_json::to_vec(problem).unwrap_or_default()))
}

/// What every answer carries: nothing is kept, framed, guessed at, or loaded from elsewhere.
fn guarded(mut response: HttpResponse) -> HttpResponse {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                          form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    response
}

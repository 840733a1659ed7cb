//! The page over HTTP: put together from the same answers as the API, so that it shows nothing the API would not.

use super::super::answers::{LanesAnswer, LettersAnswer, Problem};
use super::super::desk::RunsAnswer;
use super::super::page::words::EN;
use super::super::page::{self, Login, Moving, Page, Seen};
use super::call::Call;
use super::guard::COOKIE;
use super::routes::{Answered, Answers};
use super::{Node, health};
use crate::admin::answers::Code;
use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use askama::Template;
use std::sync::Arc;

/// Dead letters asked for.
const LETTERS: usize = 20;

pub(super) async fn page(node: Arc<Node>, call: Call) -> Answered {
    let live = page::live(seen(&node, call.may_change).await?, &EN);
    let inspector = page::inspect(&node.office, call.text("kind"), call.text("key").map(str::trim)).await;
    html(StatusCode::OK, &Page { w: &EN, live, inspector })
}

pub(super) async fn live(node: Arc<Node>, call: Call) -> Answered {
    let live = page::live(seen(&node, call.may_change).await?, &EN);
    html(StatusCode::OK, &Moving { w: &EN, live })
}

/// What the page shows. A store that does not answer leaves its table empty and says so; the rest still shows.
async fn seen(node: &Node, may_change: bool) -> Result<Seen, Problem> {
    let picture = node.look().await?;
    let office = &node.office;
    let health = health::of(node, picture.clone()).await;
    let (lanes, letters, runs) = tokio::join!(office.lanes(None), office.dead_letters(None, LETTERS), node.desk.runs(office));
    let mut faults = Vec::new();
    let mut told = |problem: Problem| faults.push(problem.to_string());
    let lanes = lanes.unwrap_or_else(|p| {
        told(p);
        LanesAnswer { lanes: Vec::new() }
    });
    let letters = letters.unwrap_or_else(|p| {
        told(p);
        LettersAnswer { total: 0, dead_letters: Vec::new(), next: None }
    });
    let runs = runs.unwrap_or_else(|p| {
        told(p);
        RunsAnswer { runs: Vec::new(), left: Vec::new() }
    });
    Ok(Seen {
        totals: node.pulse.totals(),
        history: node.pulse.history(page::HISTORY),
        lanes: lanes.lanes,
        letters,
        runs,
        status: health.status,
        dependencies: health.dependencies,
        may_change,
        faults,
        picture,
    })
}

fn html(status: StatusCode, template: &impl Template) -> Answered {
    let text = template.render().map_err(|e| Problem::new(Code::StoreFault, format!("the page cannot be written: {e}")))?;
    Ok(HttpResponse::build(status).content_type(Answers::Html.content_type()).body(text))
}

pub(super) fn style() -> Answered {
    Ok(HttpResponse::Ok().content_type(Answers::Css.content_type()).body(page::STYLE))
}

pub(super) fn script() -> Answered {
    Ok(HttpResponse::Ok().content_type(Answers::Script.content_type()).body(page::SCRIPT))
}

pub(super) fn login_form(node: Arc<Node>) -> Answered {
    html(StatusCode::OK, &Login { w: &EN, has_token: node.guard.has_token(), problem: String::new() })
}

pub(super) fn login(node: Arc<Node>, call: Call) -> Answered {
    let session = node.guard.sign_in(call.text("token").unwrap_or_default())?;
    tracing::info!(target: "audit", what = "sign in", "operator");
    let cookie = format!("{COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict");
    Ok(HttpResponse::SeeOther().insert_header((header::SET_COOKIE, cookie)).insert_header((header::LOCATION, "/")).finish())
}

/// A browser without the token is asked for it.
pub(super) fn refused(problem: &Problem) -> HttpResponse {
    let form = Login { w: &EN, has_token: true, problem: problem.detail.clone() };
    html(StatusCode::UNAUTHORIZED, &form).unwrap_or_else(|_| HttpResponse::Unauthorized().finish())
}

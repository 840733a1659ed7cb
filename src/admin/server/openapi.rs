//! `openapi.json`, made of the table of routes.

use super::call;
use super::routes::{Access, Answered, Answers, ROUTES, Route, Verb};
use serde_json::{Map, Value, json};

pub(super) fn answer() -> Answered {
    call::json(&document())
}

/// The description of the whole endpoint.
fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let (path, parts) = described(route.path);
        let verb = if route.verb == Verb::Get { "get" } else { "post" };
        let entry = paths.entry(path).or_insert_with(|| Value::Object(Map::new()));
        entry[verb] = operation(route, &parts);
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "widerow admin endpoint", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": { "Problem": {
                "type": "object",
                "required": ["code", "status", "title", "detail"],
                "properties": {
                    "code": { "type": "string" }, "status": { "type": "integer" }, "title": { "type": "string" },
                    "detail": { "type": "string" }, "help": { "type": "string" },
                },
            } },
        },
    })
}

/// The path as OpenAPI writes it, and its parts' names.
fn described(path: &str) -> (String, Vec<String>) {
    let mut names = Vec::new();
    let mut out = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('{') {
        let (inside, left) = after.split_once('}').unwrap_or((after, ""));
        let name = inside.split(':').next().unwrap_or(inside);
        out.push_str(&format!("{before}{{{name}}}"));
        names.push(name.to_owned());
        rest = left;
    }
    out.push_str(rest);
    (out, names)
}

fn operation(route: &Route, parts: &[String]) -> Value {
    let of_path =
        parts.iter().map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let of_query = route.params.iter().map(
        |p| json!({ "name": p.name, "in": "query", "required": false, "description": p.says, "schema": { "type": "string" } }),
    );
    let mut parameters: Vec<Value> = of_path.chain(of_query.clone()).collect();
    let mut operation = Map::new();
    operation.insert("summary".to_owned(), route.says.into());
    if route.access == Access::Change {
        let why = "why, for the audit log";
        parameters.push(
            json!({ "name": "reason", "in": "query", "required": false, "description": why, "schema": { "type": "string" } }),
        );
        let mut fields: Map<String, Value> =
            route.params.iter().map(|p| (p.name.to_owned(), json!({ "description": p.says }))).collect();
        fields.insert("reason".to_owned(), json!({ "description": why, "type": "string" }));
        let body = json!({ "type": "object", "properties": fields, "additionalProperties": false });
        operation.insert(
            "requestBody".to_owned(),
            json!({ "required": false, "content": { "application/json": { "schema": body } } }),
        );
    }
    operation.insert("parameters".to_owned(), Value::Array(parameters));
    if route.access != Access::Open {
        operation.insert("security".to_owned(), json!([{ "token": [] }, {}]));
    }
    let content = route.answers.content_type().split(';').next().unwrap_or_default();
    let schema = if route.answers == Answers::Json { json!({}) } else { json!({ "type": "string" }) };
    let problem = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
    operation.insert(
        "responses".to_owned(),
        json!({
            "200": { "description": "The answer", "content": { content: { "schema": schema } } },
            "default": { "description": "Why there is none", "content": problem },
        }),
    );
    Value::Object(operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every route is described, once, with its path's parts. Method: count, and hold each against the document.
    #[test]
    fn every_route_is_described() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        assert_eq!(paths.values().map(|p| p.as_object().unwrap().len()).sum::<usize>(), ROUTES.len());
        for route in ROUTES {
            let (path, parts) = described(route.path);
            let operation = &paths[&path][if route.verb == Verb::Get { "get" } else { "post" }];
            assert_eq!(operation["summary"], route.says);
            let of_path = operation["parameters"].as_array().unwrap().iter().filter(|p| p["in"] == "path").count();
            assert_eq!(of_path, parts.len(), "{path}");
        }
        assert_eq!(described("/a/{id:.+}:do/{x}"), ("/a/{id}:do/{x}".to_owned(), vec!["id".to_owned(), "x".to_owned()]));
    }
}

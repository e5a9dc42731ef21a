//! Requests of the command line, and what is printed of their answers.

use std::path::PathBuf;

use anyhow::Context;
use bytes::Bytes;
use http::Method;
use hyper::body::{Body, Incoming};
use serde_json::{Value, json};

use super::show;
use crate::client::{Client, segment};

pub struct Api {
    client: Client,
    as_json: bool,
    /// The only field that is wanted.
    field: Option<String>,
}

impl Api {
    pub fn new(client: Client, as_json: bool, field: Option<String>) -> Self {
        Api {
            client,
            as_json,
            field,
        }
    }

    pub async fn create(&mut self, path: &str, body: &Value) -> anyhow::Result<()> {
        let answer = self.ask(Method::POST, path, Some(body)).await?;
        self.print(&answer)
    }

    pub async fn put(&mut self, path: &str, body: &Value) -> anyhow::Result<()> {
        let answer = self.ask(Method::PUT, path, Some(body)).await?;
        self.print(&answer)
    }

    pub async fn patch(&mut self, path: &str, body: &Value) -> anyhow::Result<()> {
        let answer = self.ask(Method::PATCH, path, Some(body)).await?;
        self.print(&answer)
    }

    pub async fn show(&mut self, path: &str) -> anyhow::Result<()> {
        let answer = self.ask(Method::GET, path, None).await?;
        self.print(&answer)
    }

    pub async fn delete(&mut self, path: &str) -> anyhow::Result<()> {
        self.ask(Method::DELETE, path, None).await.map(drop)
    }

    /// All pages.
    pub async fn list(&mut self, path: &str, columns: &[&str]) -> anyhow::Result<()> {
        let mut items = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page = match &next {
                Some(after) => {
                    let sign = if path.contains('?') { '&' } else { '?' };
                    format!("{path}{sign}limit=1000&after={}", segment(after))
                }
                None => path.to_owned(),
            };
            let mut answer = self.ask(Method::GET, &page, None).await?;
            if let Some(found) = answer["items"].as_array_mut() {
                items.append(found);
            }
            match answer["next"].as_str() {
                Some(after) => next = Some(after.to_owned()),
                None => break,
            }
        }
        self.print_all(&items, columns);
        Ok(())
    }

    /// A table of the rows in a field of an answer; all of it where JSON or one field is asked for.
    pub fn rows(&self, answer: &Value, name: &str, columns: &[&str]) -> anyhow::Result<()> {
        match answer[name].as_array() {
            Some(rows) if !self.as_json && self.field.is_none() => {
                print!("{}", show::table(rows, columns));
                Ok(())
            }
            _ => self.print(answer),
        }
    }

    /// An answer that is no JSON.
    pub async fn text(&mut self, path: &str) -> anyhow::Result<String> {
        let answer = self.client.request(Method::GET, path, None).await?;
        anyhow::ensure!(
            answer.status.is_success(),
            "GET {path} was refused: {}",
            answer.refusal()
        );
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// The sum of each group and topic, by topic set; every lane as JSON.
    pub async fn lag(&mut self) -> anyhow::Result<()> {
        let answer = self.ask(Method::GET, "/operator/lag", None).await?;
        if self.as_json {
            return self.print(&answer);
        }
        let mut sums: Vec<Value> = Vec::new();
        for lane in answer["lanes"].as_array().into_iter().flatten() {
            let topic = lane["topic"].as_str().unwrap_or_default();
            let topic = match lane["topics"].as_str() {
                Some(set) => format!("{set}.{topic}"),
                None => topic.to_owned(),
            };
            let of = |sum: &Value| sum["group"] == lane["group"] && sum["topic"] == *topic;
            let lag = lane["lag"].as_u64().unwrap_or_default();
            match sums.iter_mut().find(|sum| of(sum)) {
                Some(sum) => {
                    sum["lag"] = (sum["lag"].as_u64().unwrap_or_default() + lag).into();
                    sum["most"] = sum["most"].as_u64().unwrap_or_default().max(lag).into();
                }
                None => sums
                    .push(json!({"group": lane["group"], "topic": topic, "lag": lag, "most": lag})),
            }
        }
        print!("{}", show::table(&sums, &["group", "topic", "lag", "most"]));
        Ok(())
    }

    /// Each line of a long answer.
    pub async fn lines(
        &mut self,
        path: &str,
        take: impl FnMut(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.client.lines(path, take).await
    }

    /// The slugs of all tenants, where the asker may know them.
    pub async fn tenants(&mut self) -> anyhow::Result<Option<Vec<String>>> {
        let mut slugs = Vec::new();
        let mut path = "/tenants?limit=1000".to_owned();
        loop {
            let answer = self.client.request(Method::GET, &path, None).await?;
            if answer.status == http::StatusCode::FORBIDDEN {
                return Ok(None);
            }
            anyhow::ensure!(
                answer.status.is_success(),
                "GET {path} was refused: {}",
                answer.refusal()
            );
            let page = answer.json()?;
            for tenant in page["items"].as_array().into_iter().flatten() {
                slugs.extend(tenant["slug"].as_str().map(str::to_owned));
            }
            match page["next"].as_str() {
                Some(after) => path = format!("/tenants?limit=1000&after={}", segment(after)),
                None => return Ok(Some(slugs)),
            }
        }
    }

    /// Step by step, until all secrets have been looked at.
    pub async fn rotate_secrets(&mut self) -> anyhow::Result<()> {
        let path = "/operator/secrets/rotate";
        let mut body = json!({});
        let (mut seen, mut resealed) = (0, 0);
        loop {
            let step = self.ask(Method::POST, path, Some(&body)).await?;
            seen += step["seen"].as_u64().unwrap_or_default();
            resealed += step["resealed"].as_u64().unwrap_or_default();
            match step.get("next") {
                Some(next) => body = json!({ "after": next }),
                None => {
                    let done = json!({"key": step["key"], "seen": seen, "resealed": resealed});
                    return self.print(&done);
                }
            }
        }
    }

    pub async fn backup(&mut self, to: Option<PathBuf>) -> anyhow::Result<()> {
        let mut answer = self.ask(Method::POST, "/operator/backup", None).await?;
        if let Some(to) = to {
            let made = PathBuf::from(
                answer["folder"]
                    .as_str()
                    .context("the answer names no folder")?,
            );
            anyhow::ensure!(
                !to.exists(),
                "{} is there already; the backup stays in {}: move it where you like",
                to.display(),
                made.display()
            );
            std::fs::rename(&made, &to).with_context(|| {
                format!(
                    "moving the backup to {}: it stays in {}; copy it from there if that is another disk or machine",
                    to.display(),
                    made.display()
                )
            })?;
            answer["folder"] = to.display().to_string().into();
        }
        self.print(&answer)
    }

    pub fn wants_json(&self) -> bool {
        self.as_json
    }

    /// Sends a body as it comes; the answer is there before the body has ended.
    pub async fn upload<B>(
        &self,
        path: &str,
        kind: &'static str,
        body: B,
    ) -> anyhow::Result<Incoming>
    where
        B: Body<Data = Bytes, Error = std::io::Error> + Send + Unpin + 'static,
    {
        self.client.upload(path, kind, body).await
    }

    pub async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let body = body.map(|body| Bytes::from(body.to_string()));
        let answer = self.client.request(method.clone(), path, body).await?;
        anyhow::ensure!(
            answer.status.is_success(),
            "{method} {path} was refused: {}",
            answer.refusal()
        );
        answer.json()
    }

    pub fn print_all(&self, items: &[Value], columns: &[&str]) {
        if self.as_json {
            println!("{}", Value::Array(items.to_vec()));
        } else {
            print!("{}", show::table(items, columns));
        }
    }

    pub fn print(&self, answer: &Value) -> anyhow::Result<()> {
        if let Some(name) = &self.field {
            let value = answer
                .get(name)
                .with_context(|| format!("the answer has no field {name}"))?;
            println!("{}", show::text(value));
        } else if self.as_json {
            println!("{answer}");
        } else {
            print!("{}", show::fields(answer));
        }
        Ok(())
    }
}

//! SPDX licence expressions (SPDX specification 2.3, annex D), as far as package manifests use them.

use anyhow::{Result, bail};

/// A licence expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// One licence, with its exception if it has one: `Apache-2.0 WITH LLVM-exception`.
    Licence(String),
    /// All of them hold at once.
    And(Vec<Expression>),
    /// Whoever uses it picks one.
    Or(Vec<Expression>),
}

impl Expression {
    /// Reads `text`. Old manifests write `/` for `OR`.
    ///
    /// # Errors
    /// If it is not an expression.
    pub fn parse(text: &str) -> Result<Self> {
        let tokens = tokens(text);
        let mut parser = Parser { tokens: &tokens };
        let expression = parser.alternatives()?;
        match parser.tokens {
            [] => Ok(expression),
            [next, ..] => bail!("{next:?} is out of place in the licence expression {text:?}"),
        }
    }

    /// Whether it can be satisfied with licences that `allowed` accepts.
    pub fn is_satisfied(&self, allowed: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::Licence(name) => allowed(name),
            Self::And(all) => all.iter().all(|part| part.is_satisfied(allowed)),
            Self::Or(any) => any.iter().any(|part| part.is_satisfied(allowed)),
        }
    }
}

fn tokens(text: &str) -> Vec<String> {
    let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    spaced.split_whitespace().map(str::to_owned).collect()
}

struct Parser<'a> {
    tokens: &'a [String],
}

impl Parser<'_> {
    fn take(&mut self, wanted: &str) -> bool {
        match self.tokens {
            [first, rest @ ..] if first == wanted => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }

    /// `OR` binds least.
    fn alternatives(&mut self) -> Result<Expression> {
        let mut parts = vec![self.conjunction()?];
        while self.take("OR") {
            parts.push(self.conjunction()?);
        }
        Ok(one_or(parts, Expression::Or))
    }

    fn conjunction(&mut self) -> Result<Expression> {
        let mut parts = vec![self.licence()?];
        while self.take("AND") {
            parts.push(self.licence()?);
        }
        Ok(one_or(parts, Expression::And))
    }

    fn licence(&mut self) -> Result<Expression> {
        if self.take("(") {
            let inner = self.alternatives()?;
            if !self.take(")") {
                bail!("a parenthesis is not closed");
            }
            return Ok(inner);
        }
        let name = self.name()?;
        if self.take("WITH") {
            return Ok(Expression::Licence(format!("{name} WITH {}", self.name()?)));
        }
        Ok(Expression::Licence(name))
    }

    fn name(&mut self) -> Result<String> {
        match self.tokens {
            [first, rest @ ..] if !["AND", "OR", "WITH", "(", ")"].contains(&first.as_str()) => {
                self.tokens = rest;
                Ok(first.clone())
            }
            [first, ..] => bail!("{first:?} stands where a licence should be"),
            [] => bail!("the licence expression ends too early"),
        }
    }
}

fn one_or(mut parts: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    if parts.len() == 1 { parts.remove(0) } else { many(parts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn satisfied(expression: &str, allowed: &[&str]) -> bool {
        Expression::parse(expression).unwrap().is_satisfied(&|name| allowed.contains(&name))
    }

    #[test]
    fn one_alternative_is_enough() {
        assert!(satisfied("GPL-2.0-only OR MIT", &["MIT"]));
        assert!(satisfied("MIT/Apache-2.0", &["Apache-2.0"]));
        assert!(!satisfied("GPL-2.0-only OR LGPL-2.1-only", &["MIT"]));
    }

    #[test]
    fn every_part_of_a_conjunction_is_needed() {
        assert!(!satisfied("MIT AND GPL-2.0-only", &["MIT"]));
        assert!(satisfied("MIT AND Zlib", &["MIT", "Zlib"]));
    }

    #[test]
    fn and_binds_closer_than_or() {
        assert!(satisfied("MIT OR GPL-2.0-only AND Zlib", &["MIT"]));
        assert!(!satisfied("(MIT OR GPL-2.0-only) AND Zlib", &["MIT"]));
    }

    #[test]
    fn an_exception_makes_another_licence() {
        assert!(!satisfied("Apache-2.0 WITH LLVM-exception", &["Apache-2.0"]));
        assert!(satisfied("Apache-2.0 WITH LLVM-exception", &["Apache-2.0 WITH LLVM-exception"]));
    }

    #[test]
    fn what_is_not_an_expression_is_refused() {
        for text in ["", "MIT OR", "(MIT", "MIT Zlib", "AND MIT", "MIT WITH"] {
            Expression::parse(text).unwrap_err();
        }
    }
}

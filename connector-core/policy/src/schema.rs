//! What policies can be about.

use std::sync::LazyLock;

use cedar_policy::{Schema, Validator};

/// The schema as people read it, with what each entity is in comments.
pub const SOURCE: &str = include_str!("schema.cedarschema");

/// Checks policies against the schema.
pub(crate) fn validator() -> &'static Validator {
    static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| Validator::new(schema()));
    &VALIDATOR
}

#[expect(clippy::expect_used, reason = "a constant, which a test reads")]
fn schema() -> Schema {
    let (schema, _) = Schema::from_cedarschema_str(SOURCE).expect("the schema is whole");
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_whole_and_warns_of_nothing() {
        let (schema, warnings) = Schema::from_cedarschema_str(SOURCE).unwrap();

        assert_eq!(warnings.count(), 0);
        assert_eq!(schema.actions().count(), 3);
    }
}

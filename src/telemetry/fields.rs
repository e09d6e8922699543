//! The fields of spans and events in log lines for people.

use std::fmt::{self, Debug};

use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::{RecordFields, VisitOutput},
    fmt::{
        FormatFields,
        format::{DefaultVisitor, Writer},
    },
};

/// Writes fields as tracing-subscriber does by default, but texts without a detour through the styles of a terminal: the span
/// of each request has three.
pub(super) struct LineFields;

impl<'w> FormatFields<'w> for LineFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line {
            writer,
            is_empty: true,
            result: Ok(()),
        };
        fields.record(&mut line);
        line.result
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    is_empty: bool,
    result: fmt::Result,
}

impl Line<'_> {
    fn text(&mut self, name: &str, value: &str) -> fmt::Result {
        if !self.is_empty {
            self.writer.write_char(' ')?;
        }
        self.writer.write_str(name)?;
        // As `Debug` writes it.
        if value
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\')
        {
            self.writer.write_str("=\"")?;
            self.writer.write_str(value)?;
            self.writer.write_char('"')
        } else {
            write!(self.writer, "={value:?}")
        }
    }

    /// Writes a field by default.
    fn with_default(&mut self, record: impl FnOnce(&mut DefaultVisitor<'_>)) {
        let mut visitor = DefaultVisitor::new(self.writer.by_ref(), self.is_empty);
        record(&mut visitor);
        let written = visitor.finish();
        self.note(written);
    }

    fn note(&mut self, result: fmt::Result) {
        self.result = self.result.and(result);
        self.is_empty = false;
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        let name = field.name();
        if name == "message" || name.starts_with("r#") || self.writer.has_ansi_escapes() {
            return self.with_default(|visitor| visitor.record_str(field, value));
        }
        let written = self.text(name, value);
        self.note(written);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.with_default(|visitor| visitor.record_error(field, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.with_default(|visitor| visitor.record_debug(field, value));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing::field::Empty;
    use tracing_subscriber::fmt::{self, format::DefaultFields};

    use super::*;

    /// The lines of a span and its events.
    fn lines(fields: impl for<'w> FormatFields<'w> + Send + Sync + 'static, ansi: bool) -> String {
        let written = Arc::new(Mutex::new(Vec::new()));
        let subscriber = fmt::Subscriber::builder()
            .without_time()
            .with_ansi(ansi)
            .fmt_fields(fields)
            .with_writer({
                let output = Output(written.clone());
                move || output.clone()
            })
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let (plain, odd) = ("GET /api/", "a\"b\\c\u{1b}[0m é\n");
            let span = tracing::error_span!("request", plain, odd, late = Empty, r#type = "x", number = 3);
            let _entered = span.enter();
            let error = io::Error::other(io::Error::other("the cause"));
            tracing::error!(plain, error = &error as &dyn std::error::Error, "{odd}");
            span.record("late", "record");
            tracing::error!(message = plain, odd, debug = ?odd, display = %odd);
        });
        String::from_utf8(written.lock().unwrap().clone()).unwrap()
    }

    #[derive(Clone)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_those_of_the_default() {
        for ansi in [false, true] {
            let own = lines(LineFields, ansi);
            assert!(own.contains("GET /api/") && own.contains("the cause"), "{own}");
            assert_eq!(own, lines(DefaultFields::new(), ansi));
        }
    }
}

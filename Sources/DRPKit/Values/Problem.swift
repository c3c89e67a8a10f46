/// One thing that is wrong with a file that a person wrote: where, what, and what would be right.
///
/// Lists of problems are returned whole, so that a file is mended in one go.
package struct Problem: Error, Hashable, Sendable, Codable, CustomStringConvertible {
    package enum Severity: String, Sendable, Codable { case error, warning }

    package var severity: Severity
    /// The file as the reader was given it.
    package var file: String
    /// From 1; 0 when the whole file is meant.
    package var line: Int
    /// From 1, counted in Unicode scalars; 0 when the whole file is meant.
    package var column: Int
    /// What is wrong, in one sentence without a final full stop.
    package var message: String
    /// What would be right; empty if the message says it.
    package var advice: String

    package init(
        _ severity: Severity = .error, file: String, line: Int, column: Int, _ message: String, advice: String = ""
    ) {
        self.severity = severity
        self.file = file
        self.line = line
        self.column = column
        self.message = message
        self.advice = advice
    }

    /// `fleet.yaml:12:5: error: unknown key 'polcies' (did you mean 'policies'?)`
    package var description: String {
        let place = line > 0 ? "\(file):\(line):\(column)" : file
        return "\(place): \(severity.rawValue): \(message)" + (advice.isEmpty ? "" : " (\(advice))")
    }
}

extension Sequence<Problem> {
    package var hasErrors: Bool { contains { $0.severity == .error } }

    /// By file, line and column: the order in which a person mends them.
    package func inOrder() -> [Problem] {
        sorted { ($0.file, $0.line, $0.column, $0.message) < ($1.file, $1.line, $1.column, $1.message) }
    }
}

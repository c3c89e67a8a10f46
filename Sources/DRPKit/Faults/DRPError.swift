/// An error that a person at the keyboard can act on.
///
/// Each border of the system (store, source, target, command, step) has one struct that conforms:
/// a reason to switch over, the thing it happened to, the cause, and what to do next.
package protocol DRPError: Error, CustomStringConvertible {
    /// The row of the table in `ErrorCode.swift`; it gives the exit status.
    var code: ErrorCode { get }
    /// What happened and to what, in one sentence without a final full stop. Never holds a secret.
    var message: String { get }
    /// What to do next; never empty.
    var advice: String { get }
}

extension DRPError {
    package var advice: String { code.advice }
    package var description: String { "\(message) [\(code.rawValue)]" }
}

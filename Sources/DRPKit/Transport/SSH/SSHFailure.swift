internal import Foundation

/// Reads why OpenSSH did not connect. Its exit status is 255 for everything; the text is all there is. Text that comes from
/// the other side can make the answer wrong, but a failure stays one.
enum SSHFailure {
    /// - Parameters:
    ///   - log: What the ssh to the host wrote (`-E`).
    ///   - jump: What the ssh to the bastion wrote (its standard error); empty if the bastion itself is the goal.
    ///   - side: Whom the first one speaks to.
    static func reason(log: String, jump: String, side: SSHError.Side) -> SSHError.Reason {
        if side == .host, let reason = jumpReason(jump) { return reason }
        return reason(log, side) ?? .unreachable(side, lastLine(log) ?? lastLine(jump) ?? "ssh ended without a word")
    }

    private static func jumpReason(_ text: String) -> SSHError.Reason? {
        if text.contains("open failed: administratively prohibited") { return .jumpRefused }
        if text.contains("open failed: connect failed") {
            return .unreachable(.host, "from the bastion: " + openFailure(text))
        }
        if let reason = reason(text, .bastion) { return reason }
        let signs = ["connect to host", "Could not resolve", "timed out", "Connection closed by", "Connection reset"]
        return signs.contains(where: text.contains) ? .unreachable(.bastion, lastLine(text) ?? "") : nil
    }

    private static func reason(_ text: String, _ side: SSHError.Side) -> SSHError.Reason? {
        if text.contains("no matching host key type found") {
            return .untrusted(side, "its host key has no certificate")
        }
        if text.contains("Host key verification failed") { return .untrusted(side, hostKey(text)) }
        return text.contains("Permission denied") ? .denied(side) : nil
    }

    private static func hostKey(_ text: String) -> String {
        if text.contains("Certificate invalid: expired") { return "its host certificate has expired" }
        if text.contains("Certificate invalid: not yet valid") { return "its host certificate is not valid yet" }
        if text.contains("is not a listed principal") { return "its host certificate is for another address" }
        if text.contains("Certificate invalid") { return "its host certificate is not valid" }
        return "its host key is not certified by the site's host-ca"
    }

    /// The words after `open failed: connect failed: ` of the last such line.
    static func openFailure(_ text: String) -> String {
        let mark = "open failed: connect failed: "
        guard let found = text.range(of: mark, options: .backwards) else { return "it cannot be reached" }
        let words = String(text[found.upperBound...].prefix { !$0.isNewline })
        return words == "open failed"
            ? "no such socket, nobody listens, or its sshd does not forward sockets" : Printable.line(words)
    }

    /// Without what ssh says in any case when its way to the host closes.
    private static func lastLine(_ text: String) -> String? {
        let lines = text.split(whereSeparator: \.isNewline).filter { !$0.contains("UNKNOWN port") }
        guard let line = lines.last ?? text.split(whereSeparator: \.isNewline).last else { return nil }
        // Whom it tried to reach stands in the error already.
        let words = line.hasPrefix("ssh: connect to host") ? line.split(separator: ": ").last ?? line : line
        return Printable.line(String(words))
    }
}

package import Foundation

/// A user certificate of OpenSSH for an Ed25519 key (PROTOCOL.certkeys), read and not yet believed: whether the authority
/// is the right one and signed it is for the server to say.
package struct SSHCertificate: Sendable, Hashable {
    static let type = "ssh-ed25519-cert-v01@openssh.com"
    static let maximumText = 64 << 10
    private static let userType: UInt32 = 1

    /// Type and Base64, without a comment.
    let text: String
    /// 32 bytes.
    let key: [UInt8]
    package let serial: UInt64
    let kind: UInt32
    package let keyID: String
    package let principals: [String]
    /// Seconds since 1970.
    let validAfter: UInt64
    /// Seconds since 1970, itself no longer included; the largest number means for ever.
    let validBefore: UInt64
    let extensions: [String]

    /// - Returns: nil unless `output` is one line with such a certificate.
    init?(_ output: [UInt8]) {
        guard output.count <= Self.maximumText else { return nil }
        let lines = String(decoding: output, as: UTF8.self).split(whereSeparator: \.isNewline)
            .filter { !$0.allSatisfy(\.isWhitespace) }
        guard lines.count == 1 else { return nil }
        let words = lines[0].split(whereSeparator: \.isWhitespace)
        guard words.count >= 2, words[0] == Self.type, let blob = Data(base64Encoded: String(words[1])) else {
            return nil
        }
        text = "\(words[0]) \(words[1])"
        var wire = SSHWire(Array(blob))
        guard wire.text() == Self.type, wire.string() != nil, let key = wire.string(), key.count == 32,
            let serial = wire.integer64(), let kind = wire.integer32(), let keyID = wire.text(),
            let principals = wire.list(), let after = wire.integer64(), let before = wire.integer64(),
            wire.pairs() != nil, let extensions = wire.pairs(), wire.string() != nil, wire.string() != nil,
            wire.string() != nil, wire.isAtEnd
        else { return nil }
        self.key = key
        self.serial = serial
        self.kind = kind
        self.keyID = keyID
        self.principals = principals
        validAfter = after
        validBefore = before
        self.extensions = extensions
    }

    /// nil for one that never ends.
    package var ends: Date? { validBefore >= 1 << 40 ? nil : Date(timeIntervalSince1970: TimeInterval(validBefore)) }

    /// - Returns: Why it cannot be used, or nil.
    func problem(for ownKey: [UInt8], principal: String, now: Date) -> SSHError.Reason? {
        guard kind == Self.userType else { return .certificateUnusable("it is a host's certificate, not a user's") }
        guard key == ownKey else { return .certificateUnusable("it is for another key") }
        guard principals.contains(principal) else {
            return .otherPrincipal(wanted: principal, given: principals.map(Printable.line))
        }
        guard extensions.contains("permit-port-forwarding") else {
            return .certificateUnusable("it does not permit forwarding (permit-port-forwarding)")
        }
        let seconds = now.timeIntervalSince1970
        if seconds < TimeInterval(validAfter) {
            return .certificateNotYetValid(Self.time(TimeInterval(validAfter)))
        }
        return isOver(at: now) ? .certificateExpired(Self.time(TimeInterval(validBefore))) : nil
    }

    func isOver(at now: Date) -> Bool { ends.map { now >= $0 } ?? false }

    /// Whether a connection may still begin with it: less than half of its time, and less than 30 s, are not enough.
    func isFresh(at now: Date, fetched: Date) -> Bool {
        guard let ends else { return true }
        let margin = min(30, max(0, ends.timeIntervalSince(fetched)) / 2)
        return now < ends.addingTimeInterval(-margin)
    }

    private static func time(_ seconds: TimeInterval) -> String {
        // Far from what a calendar can show, the number says as much.
        seconds < 253_402_300_800 ? Date(timeIntervalSince1970: seconds).formatted(.iso8601) : "\(seconds)"
    }

    /// The key of a public key's line, as `ssh-ed25519 AAAA… comment`.
    static func ed25519(publicLine: String) -> [UInt8]? {
        let words = publicLine.split(whereSeparator: \.isWhitespace)
        guard words.count >= 2, words[0] == "ssh-ed25519", let blob = Data(base64Encoded: String(words[1])) else {
            return nil
        }
        var wire = SSHWire(Array(blob))
        guard wire.text() == "ssh-ed25519", let key = wire.string(), key.count == 32, wire.isAtEnd else { return nil }
        return key
    }
}

/// The data types of SSH (RFC 4251, 5), read with every length checked.
struct SSHWire {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func integer32() -> UInt32? { take(4).map { $0.reduce(0) { $0 << 8 | UInt32($1) } } }

    mutating func integer64() -> UInt64? { take(8).map { $0.reduce(0) { $0 << 8 | UInt64($1) } } }

    mutating func string() -> [UInt8]? { integer32().flatMap { take(Int($0)) }.map(Array.init) }

    mutating func text() -> String? { string().flatMap { String(validating: $0, as: UTF8.self) } }

    /// A string that holds strings.
    mutating func list() -> [String]? {
        guard var inner = string().map(SSHWire.init) else { return nil }
        var texts: [String] = []
        while !inner.isAtEnd {
            guard let text = inner.text() else { return nil }
            texts.append(text)
        }
        return texts
    }

    /// A string that holds names with data.
    /// - Returns: the names.
    mutating func pairs() -> [String]? {
        guard var inner = string().map(SSHWire.init) else { return nil }
        var names: [String] = []
        while !inner.isAtEnd {
            guard let name = inner.text(), inner.string() != nil else { return nil }
            names.append(name)
        }
        return names
    }

    private mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard count <= rest.count else { return nil }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }
}

package import DRPKit
internal import Foundation

/// A shared key for signing DNS messages: HMAC-SHA-256 alone (RFC 8945 6).
package struct TSIGKey: Sendable {
    package var name: DNSName
    package var secret: Secret

    /// `hmac-sha256` as a name.
    package static let algorithm = DNSName("hmac-sha256") ?? .root

    package init(name: DNSName, secret: Secret) {
        self.name = name
        self.secret = secret
    }

    /// Reads a key file of BIND: `key "name" { algorithm hmac-sha256; secret "base64"; };`, with comments in
    /// any of its three forms and the words in any order.
    /// - Parameter file: The whole content of the file. Errors never quote it.
    package static func parse(_ file: Secret) throws(TrafficError) -> TSIGKey {
        try parse(file.withText { $0 })
    }

    private static func parse(_ text: String) throws(TrafficError) -> TSIGKey {
        guard text.utf8.count <= 64 << 10 else { throw wrong("longer than 64 KiB") }
        let words = try words(of: Array(text.utf8))
        guard words.count >= 3, words[0] == "key", words[2] == "{" else {
            throw wrong("it does not begin with key \"NAME\" {")
        }
        guard let name = DNSName(words[1]) else { throw wrong("the key's name is no domain name") }
        var values: [String: String] = [:]
        var index = 3
        while index < words.count, words[index] != "}" {
            guard index + 2 < words.count, words[index + 2] == ";", values[words[index]] == nil else {
                throw wrong("a statement does not have the form WORD VALUE;")
            }
            values[words[index]] = words[index + 1]
            index += 3
        }
        guard words[index...] == ["}", ";"] || words[index...] == ["}"] else {
            throw wrong("it must hold one key and end with };")
        }
        guard let algorithm = values["algorithm"] else { throw wrong("it names no algorithm") }
        guard DNSName(algorithm.lowercased()) == Self.algorithm else {
            throw wrong("its algorithm is not hmac-sha256, the only one that drp uses")
        }
        guard let base64 = values["secret"], let data = Data(base64Encoded: base64), data.count >= 16 else {
            throw wrong("its secret is missing, no base64, or shorter than 16 bytes")
        }
        return TSIGKey(name: name, secret: Secret(Array(data)))
    }

    private static func wrong(_ text: String) -> TrafficError { TrafficError(.settings, "TSIG key file", text) }

    /// Words, quoted strings without their quotes, and `{`, `}`, `;` as words of their own.
    private static func words(of bytes: [UInt8]) throws(TrafficError) -> [String] {
        var words: [String] = []
        var index = 0
        while index < bytes.count {
            let rest = bytes[index...]
            switch bytes[index] {
            case 0x20, 0x09, 0x0a, 0x0d:
                index += 1
            case 0x23:
                index = rest.firstIndex(of: 0x0a) ?? bytes.count
            case 0x2f where rest.starts(with: Array("//".utf8)):
                index = rest.firstIndex(of: 0x0a) ?? bytes.count
            case 0x2f where rest.starts(with: Array("/*".utf8)):
                var end = index + 2
                while end + 1 < bytes.count, !(bytes[end] == 0x2a && bytes[end + 1] == 0x2f) { end += 1 }
                guard end + 1 < bytes.count else { throw wrong("a comment does not end") }
                index = end + 2
            case 0x7b, 0x7d, 0x3b:
                words.append(String(UnicodeScalar(bytes[index])))
                index += 1
            case 0x22:
                guard let end = bytes[(index + 1)...].firstIndex(of: 0x22) else { throw wrong("a quote is not closed") }
                words.append(String(decoding: bytes[index + 1..<end], as: UTF8.self))
                index = end + 1
            default:
                let end = rest.firstIndex { " \t\r\n{};\"#".utf8.contains($0) } ?? bytes.count
                words.append(String(decoding: bytes[index..<end], as: UTF8.self))
                index = end
            }
        }
        return words
    }
}

internal import Crypto
package import DRPKit
package import Foundation

/// The object `drp.json`: says in the clear whose repository this is. Canonical JSON: sorted keys, one final
/// newline; a reader that cannot make the same bytes of it again refuses it.
package struct RepositoryCard: Codable, Sendable, Equatable {
    package var format: Int
    package var client: UUID
    package var name: ClientID
    package var epoch: Int
    /// RFC 3339, UTC, whole seconds.
    package var created: String
    /// HMAC under the writer's keys over name and time, in lower-case hex: the card is theirs.
    var mark: String

    init(keys: WriterKeys, created: String) {
        format = Manifest.currentFormat
        client = keys.client
        name = keys.name
        epoch = keys.epoch
        self.created = created
        mark = Self.mark(keys, created: created)
    }

    private struct FormatOnly: Codable { var format: Int }

    /// - Throws: `.foreign` for a newer format, `.damaged` for what is no card.
    init(_ bytes: [UInt8], subject: String) throws(RepositoryError) {
        do {
            let format = try JSONDecoder().decode(FormatOnly.self, from: Data(bytes)).format
            guard format == Manifest.currentFormat else {
                throw RepositoryError(.foreign, subject, cause: Manifest.unknown(format: format))
            }
            self = try JSONDecoder().decode(Self.self, from: Data(bytes))
            guard try encoded() == bytes, (1...Int(UInt32.max)).contains(epoch) else {
                throw RepositoryError(.damaged, subject, cause: "it is not in canonical form")
            }
        } catch let error as RepositoryError {
            throw error
        } catch {
            throw RepositoryError(.damaged, subject, cause: "it is not the JSON of a repository")
        }
    }

    func encoded() throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(self)) + [0x0a]
    }

    /// - Throws: `.foreign` unless these are the keys of the card's client, its epoch among them; `.damaged` for a wrong
    ///   mark.
    func check(_ keys: WriterKeys, subject: String) throws(RepositoryError) {
        guard client == keys.client, name == keys.name, let maker = keys.of(epoch: epoch) else {
            throw RepositoryError(
                .foreign, subject,
                cause: "it is of \(name), \(client), epoch \(epoch); the keys are of \(keys.name), "
                    + "\(keys.client), epoch \(keys.epoch)")
        }
        guard mark == Self.mark(maker, created: created) else {
            throw RepositoryError(.damaged, subject, cause: "the mark of its writer is wrong")
        }
    }

    private static func mark(_ keys: WriterKeys, created: String) -> String {
        Hex.encode(keys.mark(.card, Array("\(keys.name)\n\(created)".utf8)))
    }
}

package import DRPKit
package import Foundation

/// The entry `bundle.json` of a bundle's archive, its first: what the others are.
package struct BundleIndex: Codable, Sendable, Equatable {
    static let entry = "bundle.json"
    static let journal = "journal.sqlite"
    static let currentFormat = 1

    package struct File: Codable, Sendable, Equatable {
        var entry: String
        /// Where it lay; absolute.
        var path: String
    }

    /// Exactly one of the four, as in the fleet file.
    package struct Source: Codable, Sendable, Hashable {
        var file: String?
        var env: String?
        var command: [String]?
        var credential: String?

        init(_ source: SecretSource) {
            switch source {
            case .file(let path): file = path
            case .env(let name): env = name
            case .command(let arguments): command = arguments
            case .credential(let name): credential = name
            }
        }
    }

    package struct SecretFile: Codable, Sendable, Equatable {
        /// nil if it could not be read when the bundle was made.
        var entry: String?
        var source: Source
    }

    package struct Keys: Codable, Sendable, Equatable {
        package struct Epoch: Codable, Sendable, Equatable {
            package var epoch: Int
            package var fingerprint: String
        }

        package var client: ClientID
        package var uuid: UUID
        /// Oldest first.
        package var epochs: [Epoch]
    }

    package struct Head: Codable, Sendable, Equatable {
        package var number: Int64
        package var hash: ContentHash
    }

    private struct FormatOnly: Codable { var format: Int }

    var format = Self.currentFormat
    /// The version of the program that made it.
    package var program: String
    /// The name of the fleet.
    package var fleet: String
    /// Whether the fleet file was a folder of them.
    var isFolder: Bool
    /// The store that it lies in, as the fleet file names it.
    package var store: StoreName
    package var at: Date
    /// The state folder.
    var state: String
    var fleetFiles: [File]
    /// Other files that the fleet file names: certificates of authorities.
    var files: [File]
    var secrets: [SecretFile]
    package var keys: [Keys]
    /// The newest event of the journal in it.
    package var head: Head

    /// - Throws: `.foreign` for a newer format; `.damaged` for what is no index.
    static func read(_ bytes: [UInt8], subject: String) throws(RepositoryError) -> Self {
        do {
            let format = try DocumentJSON.decode(FormatOnly.self, bytes).format
            guard format == currentFormat else {
                throw RepositoryError(.foreign, subject, cause: Manifest.unknown(format: format))
            }
            return try DocumentJSON.decode(Self.self, bytes)
        } catch let error as RepositoryError {
            throw error
        } catch {
            throw RepositoryError(.damaged, subject, cause: "its \(entry) does not decode")
        }
    }
}

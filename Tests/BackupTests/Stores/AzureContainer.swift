import DRPKit
import Foundation
import TestSupport

@testable import Backup

/// A container of its own at the stand-in for Azure that `script/test` starts (`script/services/azure`).
struct AzureContainer {
    static let environment = ProcessInfo.processInfo.environment
    static let endpoint = environment["DRP_TEST_AZURE"]

    /// Each does another thing, since at Azure it is the account that keeps versions.
    enum Account: String, CaseIterable, Sendable {
        case plain = "drpplain"
        case versions = "drpversions"
        /// With version-level immutability.
        case locks = "drplocks"
        /// With versions and soft delete.
        case bin = "drpbin"

        var keyFile: String { (environment["DRP_TEST_AZURE_KEYS"] ?? "") + "/\(rawValue).key" }

        func credentials() async throws -> AzureCredentials {
            .key(try await SecretResolver().resolve(.file(path: keyFile)))
        }
    }

    /// How the service is reached.
    enum Address: CaseIterable, Sendable {
        /// The account in the path, as emulators have it; in the host, as Azure has it; in the path, by TLS.
        case path, host, tls
    }

    let account: Account
    let settings: StoreSettings.Azure
    let http: any HTTPClient

    init(_ account: Account = .plain, _ address: Address = .path, http: any HTTPClient = CurlClient()) async throws {
        self.init(account, address, name: "drp-\(UUID().uuidString.lowercased())", http: http)
        _ = try await hand.send(.put, nil)
    }

    /// A container that is there already, or is not.
    init(_ account: Account, _ address: Address = .path, name: String, http: any HTTPClient = CurlClient()) {
        let origin = (address == .tls ? Self.environment["DRP_TEST_AZURE_TLS"] : Self.endpoint) ?? ""
        let endpoint =
            address == .host
            ? origin.replacing("127.0.0.1", with: "\(account.rawValue).localhost") : origin + "/\(account.rawValue)"
        self.account = account
        self.http = http
        settings = StoreSettings.Azure(
            account: account.rawValue, container: name, endpoint: endpoint,
            ca: address == .tls ? Self.environment["DRP_TEST_AZURE_CA"] : nil,
            access: .key(.file(path: account.keyFile)))
    }

    func store(
        http: (any HTTPClient)? = nil, clock: any WallClock = SystemClock(),
        credentials: (@Sendable () async throws -> AzureCredentials)? = nil
    ) -> AzureStore {
        AzureStore(
            settings, http: http ?? self.http, clock: clock, rule: S3Bucket.impatient,
            credentials: credentials ?? account.credentials)
    }

    /// Raw requests, as of somebody who holds the account's key.
    var hand: AzureConnection {
        AzureConnection(
            settings, transport: CloudTransport(http: http, clock: SystemClock(), rule: RetryRule()),
            credentials: account.credentials)
    }

    /// A SAS of the container, made by the Azure SDK.
    /// - Parameter seconds: until it ends; it has ended if negative.
    static func signature(_ account: Account, permissions: String, seconds: Int = 3600) async throws -> (
        container: AzureContainer, sas: Secret
    ) {
        let name = "drp-\(UUID().uuidString.lowercased())"
        let container = AzureContainer(account, name: name)
        let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../..").standardized.path()
        let made = try await CommandRunner().run(
            [
                environment["DRP_TEST_PYTHON"] ?? "python3", root + "/script/lib/make_container.py",
                container.settings.endpoint, account.rawValue, account.keyFile, name, permissions, "\(seconds)",
            ], deadline: .seconds(30))
        let text = String(decoding: made.output, as: UTF8.self).trimmingCharacters(in: .newlines)
        return (container, Secret(text))
    }
}

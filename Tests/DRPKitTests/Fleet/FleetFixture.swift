import DRPKit
import Foundation

/// Writes fleet files into a folder of its own, which goes away with the value.
final class FleetFolder {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.path + "/fleet-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ text: String, as name: String = "fleet.yaml") throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path + "/" + name))
    }

    /// Problems with the file's name alone instead of its path.
    func problems(_ text: String) throws -> [String] {
        try write(text)
        return try FleetReader.read(path + "/fleet.yaml").problems.map {
            $0.description.replacing(path + "/", with: "")
        }
    }

    func load(_ text: String) throws -> Fleet {
        try write(text)
        return try FleetReader.load(path + "/fleet.yaml")
    }
}

enum FleetText {
    static let recipients = [
        "drp1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qarc0sf9wqmc",
        "drp1qypqxpq9qcrsszg2pvxq6rs0zqg3yyc5z5tpwxqergd3c8g7rusq082fvf",
    ]

    /// A fleet of which nothing is wrong, with a part replaced.
    static func dull(_ old: String = "", _ new: String = "") -> String {
        let text = """
            fleet: toucan
            state: state
            site: office
            recovery: [\(recipients[0]), \(recipients[1])]
            sites:
              paris: {provider: local, folder: sites/paris, frontends: [{address: 127.0.0.11}]}
              lyon:
                provider: local
                folder: /srv/lyon
                frontends: [{address: 127.0.0.12}]
                programs: {mongod: bin/mongod}
              office: {}
            stores:
              disk: {site: office, folder: /srv/drp}
            policies:
              standard: {schedule: daily 02:30 Europe/Paris, stores: [disk]}
            environments:
              production: {policy: standard, objectives: {rpo: 1d, rto: 40m, availability: 99.9}}
              staging: {policy: standard}
            clients:
              - id: acme
                environment: production
                site: paris
                priority: 1
                services:
                  api: {command: [bin/api, --verbose], port: 8081}
                  mongo: {uri: {file: secrets/mongo}, ca: ca.pem}
                  redis: {uri: {env: REDIS_URI}}
                domains: [acme.clients.test]
            traffic:
              site: office
              dns: {rfc2136: {server: "127.0.0.1:5353", zone: clients.test, key: {file: tsig.key}}}

            """
        precondition(old.isEmpty || text.contains(old), "the fixture does not hold \(old)")
        return old.isEmpty ? text : text.replacing(old, with: new)
    }
}

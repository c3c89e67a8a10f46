internal import DRPKit
internal import Foundation
internal import Glibc

/// Paths of one client's stack at a site: `<site folder>/<client>/{mongo,redis,api,secrets,log,run}`.
struct DeploymentFolder: Sendable {
    /// Made anew for each deployment; 32 random bytes each in base64url, so that no URI needs escapes.
    struct Passwords: Codable, Sendable {
        var mongoForDRP: String
        var mongoForApp: String
        var redisForDRP: String
        var redisForApp: String
        /// Of the replica set's members among themselves: base64, as mongod wants it.
        var mongoMembers: String
    }

    static let services = ["mongo", "redis", "api"]

    let site: String
    let client: ClientID
    var path: String { "\(site)/\(client)" }
    var record: String { "\(path)/deployment.json" }
    /// Where `remove` puts the folder before it deletes: no half deleted stack ever bears the client's name.
    var trash: String { "\(site)/.removed-\(client)" }

    func secret(_ name: String) -> String { "\(path)/secrets/\(name)" }
    func configuration(_ service: String) -> String { "\(path)/\(service)/\(service).conf" }

    func process(_ service: String) -> LocalProcess {
        LocalProcess(name: service, runFolder: "\(path)/run", logFile: "\(path)/log/\(service).log")
    }

    var secretFiles: Deployment.SecretFiles {
        Deployment.SecretFiles(
            mongoForDRP: secret("mongo-drp.uri"), redisForDRP: secret("redis-drp.uri"),
            mongoForApp: secret("mongo-app.uri"), redisForApp: secret("redis-app.uri"))
    }

    /// - Returns: nil if nothing is there.
    /// - Throws: `.foreign` if something is there that drp did not make.
    func read() throws(DeployError) -> Deployment? {
        if let deployment = try PrivateFiles.read(Deployment.self, from: record) {
            guard deployment.format == 1, deployment.client == client, deployment.folder == path else {
                throw DeployError(.foreign, record, "it describes another client, folder or format")
            }
            return deployment
        }
        // What was interrupted before its first word leaves at most an empty file beside it.
        let found = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        guard found.allSatisfy({ $0 == "deployment.json.new" }) else {
            throw DeployError(.foreign, path, "the folder holds files and no deployment.json")
        }
        return nil
    }

    func makeSubfolders() throws(DeployError) {
        for name in Self.services + ["secrets", "log", "run", "mongo/data", "redis/data"] {
            try PrivateFiles.makeFolder("\(path)/\(name)")
        }
    }

    /// - Returns: nil if none were made yet.
    func knownPasswords() throws(DeployError) -> Passwords? {
        try PrivateFiles.read(Passwords.self, from: secret("passwords.json"))
    }

    /// Those of an interrupted deployment stay: its users may have them already.
    func passwords() throws(DeployError) -> Passwords {
        let file = secret("passwords.json")
        if let kept = try knownPasswords() { return kept }
        let passwords = Passwords(
            mongoForDRP: NewPassword.make(), mongoForApp: NewPassword.make(), redisForDRP: NewPassword.make(),
            redisForApp: NewPassword.make(), mongoMembers: Data(NewPassword.randomBytes(48)).base64EncodedString())
        try PrivateFiles.write(json: passwords, to: file)
        return passwords
    }

    func writeSecrets(_ passwords: Passwords, of deployment: Deployment) throws(DeployError) {
        let files = deployment.secretFiles
        func mongo(_ user: String, _ password: String) -> String {
            "mongodb://\(user):\(password)@\(deployment.address):\(deployment.ports.mongo)"
                + "/?replicaSet=\(client)&authSource=admin"
        }
        func redis(_ user: String, _ password: String) -> String {
            "redis://\(user):\(password)@\(deployment.address):\(deployment.ports.redis)"
        }
        for (file, text) in [
            (secret("mongo.key"), passwords.mongoMembers),
            (files.mongoForDRP, mongo("drp-admin", passwords.mongoForDRP)),
            (files.mongoForApp, mongo("drp-app", passwords.mongoForApp)),
            (files.redisForDRP, redis("drp", passwords.redisForDRP)),
            (files.redisForApp, redis("app", passwords.redisForApp)),
        ] {
            try PrivateFiles.write(Array("\(text)\n".utf8), to: file)
        }
    }

    /// Those of a stack of containers, with the certificates by which its edge is known.
    func writeContainerSecrets(
        _ passwords: Passwords, of deployment: Deployment, certificate: String
    ) throws(DeployError) {
        let files = deployment.secretFiles
        let uris = DockerURIs(deployment, passwords)
        for (file, text) in [
            (files.mongoForDRP, uris.mongoForDRP), (files.redisForDRP, uris.redisForDRP),
            (files.mongoForApp, uris.mongoForApp), (files.redisForApp, uris.redisForApp),
            (secret("edge-chain.pem"), certificate),
        ] {
            guard let text else { continue }
            try PrivateFiles.write(Array("\(text)\n".utf8), to: file)
        }
    }

    /// Deletes the folder, if it is there; what is half deleted never bears the client's name.
    func remove() throws(DeployError) {
        try Self.delete(trash)
        guard access(path, F_OK) == 0 else { return }
        guard rename(path, trash) == 0 else {
            throw DeployError(.unusable, path, "cannot be moved (\(String(cString: strerror(errno))))")
        }
        try Self.delete(trash)
    }

    private static func delete(_ path: String) throws(DeployError) {
        guard access(path, F_OK) == 0 else { return }
        do { try FileManager.default.removeItem(atPath: path) } catch {
            throw DeployError(.unusable, path, "cannot be deleted")
        }
    }
}

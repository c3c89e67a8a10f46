import Foundation
import Testing

/// Buckets at the gateway that `script/test` starts.
extension DemoWorld {
    static func setting(_ name: String) throws -> String {
        try #require(ProcessInfo.processInfo.environment[name], "\(name) is not set")
    }

    /// Puts the world's store into a bucket that keeps versions and locks, reached by TLS.
    @discardableResult
    func moveToBucket() async throws -> String {
        let bucket = "drp-\(UUID().uuidString.lowercased())"
        let made = try await hand("make", bucket, "--locks")
        try #require(made.status == 0, "\(made.stderr)")
        try editFleet("folder: \(store)", try bucketSettings(bucket))
        return bucket
    }

    /// As an entry of `stores` has it, behind the store's site.
    func bucketSettings(_ bucket: String) throws -> String {
        let (access, secret) = (try Self.setting("DRP_TEST_S3_ACCESS"), try Self.setting("DRP_TEST_S3_SECRET"))
        return """
            s3: {provider: ceph, endpoint: "\(try Self.setting("DRP_TEST_S3_TLS"))", bucket: \(bucket), region: default, \
            ca: \(try Self.setting("DRP_TEST_S3_CA")), access: {file: \(access)}, secret: {file: \(secret)}}
            """
    }

    /// A hand with the bucket's key, beside drp: `script/lib/s3_hand.py`.
    func hand(_ verb: String, _ bucket: String, _ options: String...) async throws -> Ended {
        try await shell(
            [
                Self.python, Self.root + "/script/lib/s3_hand.py", verb, try Self.setting("DRP_TEST_S3"),
                try Self.setting("DRP_TEST_S3_ACCESS"), try Self.setting("DRP_TEST_S3_SECRET"), bucket,
            ] + options)
    }
}

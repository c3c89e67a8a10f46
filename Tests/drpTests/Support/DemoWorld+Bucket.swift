import Foundation
import Testing

/// A world whose store lies in a bucket of the test gateway.
extension DemoWorld {
    /// Puts the store `vault` into a bucket that keeps versions and locks, reached by TLS.
    /// - Returns: the bucket's name.
    func moveToBucket() async throws -> String {
        let bucket = "drp-\(UUID().uuidString.lowercased())"
        let made = try await shell([
            Self.python, Self.root + "/script/lib/make_bucket.py", try gateway("DRP_TEST_S3"),
            try gateway("DRP_TEST_S3_ACCESS"), try gateway("DRP_TEST_S3_SECRET"), bucket, "--locks",
        ])
        try #require(made.status == 0, "\(made.stderr)")
        try editFleet("folder: \(store)", try bucketSettings(bucket))
        return bucket
    }

    /// As an entry of `stores` has it, behind the store's site.
    func bucketSettings(_ bucket: String) throws -> String {
        """
        s3: {provider: ceph, endpoint: "\(try gateway("DRP_TEST_S3_TLS"))", bucket: \(bucket), region: default, \
        ca: \(try gateway("DRP_TEST_S3_CA")), access: {file: \(try gateway("DRP_TEST_S3_ACCESS"))}, \
        secret: {file: \(try gateway("DRP_TEST_S3_SECRET"))}}
        """
    }

    private func gateway(_ name: String) throws -> String {
        try #require(Self.environment[name], "\(name) is not set")
    }
}

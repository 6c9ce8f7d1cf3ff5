#!/bin/sh
# Make the bucket, and Argus's user with a policy for that bucket alone. Harmless when repeated; a new secret replaces
# the old one.
set -eu
umask 077

mc alias set s3 "$S3_ENDPOINT" "$MINIO_ROOT_USER" "$MINIO_ROOT_PASSWORD" >/dev/null
mc mb --ignore-existing "s3/$ARGUS_BUCKET"

policy=$(mktemp)
cat >"$policy" <<EOF
{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"],
      "Resource": ["arn:aws:s3:::$ARGUS_BUCKET"]
    },
    {
      "Effect": "Allow",
      "Action": [
        "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"
      ],
      "Resource": ["arn:aws:s3:::$ARGUS_BUCKET/*"]
    }
  ]
}
EOF
mc admin policy create s3 argus-platform "$policy"
mc admin user add s3 "$S3_ACCESS_KEY" "$S3_SECRET_KEY" >/dev/null
# To attach what is attached is an error.
mc admin policy attach s3 argus-platform --user "$S3_ACCESS_KEY" ||
  mc admin user info s3 "$S3_ACCESS_KEY" | grep -q argus-platform

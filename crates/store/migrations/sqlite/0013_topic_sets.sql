-- The topic set of a tenant that has topics of its own, and of those below it; '' for the shared one.
ALTER TABLE tenants ADD COLUMN topic_set TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX one_tenant_a_topic_set ON tenants (topic_set)
    WHERE topic_set <> '' AND parent IS NULL AND state <> 'closed';

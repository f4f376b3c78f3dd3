drop table repeatable_migrations, sweeps, markers, tombstones, commands, workers;

-- schema: The read model. In a service it is a migration, `migrations/0001_read_models.sql`.
create table loans (
    book_id text primary key,
    reader text not null,
    due timestamptz not null,
    overdue boolean not null
);
-- lent: A book is with its reader. A repeated event finds its row and changes nothing.
insert into loans (book_id, reader, due, overdue) values ($1, $2, $3, false)
on conflict (book_id) do update set reader = excluded.reader, due = excluded.due, overdue = false
-- overdue: The loan is shown as overdue.
update loans set overdue = true where book_id = $1
-- returned: The book is on the shelf.
delete from loans where book_id = $1
-- of_reader: What a reader has at home, the next one due first.
select book_id, due, overdue from loans where reader = $1 order by due, book_id
